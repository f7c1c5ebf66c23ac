"""How good a segmentation is, and where it is wrong: VOI, Rand, expected run length, pictures."""
