"""What an affinity channel means: its offset, and the pair of views that an offset relates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.roi import IntTriple, int_triple

NEAREST: tuple[IntTriple, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
"""The nearest-neighbour offsets (voxels, zyx) that every affinity network predicts first."""


def parse_offsets(offsets: Sequence[Sequence[int]]) -> tuple[IntTriple, ...]:
    """Return validated offsets: at least the three nearest neighbours first, none zero, none positive."""
    parsed = tuple(int_triple(offset, "affinity offset") for offset in offsets)
    if parsed[:3] != NEAREST:
        raise InputError(f"offsets: the first three must be {NEAREST}, got {parsed[:3]}.")
    if any(max(offset) > 0 or min(offset) == 0 for offset in parsed):
        raise InputError(f"offsets: must be negative or zero along each axis, got {parsed}.")
    return parsed


def pair_slices(offset: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices that select every voxel v whose partner v + offset is inside, and those partners.

    Examples
    --------
    >>> here, there = pair_slices((-1,))
    >>> import numpy as np
    >>> line = np.array([1, 1, 2])
    >>> (line[here] == line[there]).tolist()  # voxels 1 and 2 against 0 and 1
    [True, False]
    """
    here = tuple(slice(max(0, -o), -o if o > 0 else None) for o in offset)
    there = tuple(slice(max(0, o), o if o < 0 else None) for o in offset)
    return here, there


def shifted(array: Any, offset: Sequence[int]) -> tuple[Any, Any]:
    """Two views of `array` along its last ``len(offset)`` axes: voxels v, and their partners v + offset.

    Works on numpy arrays and torch tensors alike; nothing is copied.
    """
    here, there = pair_slices(offset)
    return array[(..., *here)], array[(..., *there)]


def clear_outside(
    affinities: NDArray[np.uint8], offsets: Sequence[Sequence[int]], where: Sequence[slice]
) -> None:
    """Set to 0, in place, what has no partner: v + offset lies before the volume's first voxel.

    Parameters
    ----------
    affinities
        (c, z, y, x) of a block, the channels of `offsets` first.
    offsets
        Voxels, zyx, zero or negative.
    where
        The block in voxels of the volume, zyx.
    """
    for channel, offset in enumerate(offsets):
        for axis, (step, part) in enumerate(zip(offset, where, strict=True)):
            lacking = max(0, -step - part.start)
            np.moveaxis(affinities[channel], axis, 0)[:lacking] = 0


def affinities_from_labels(
    labels: NDArray[np.integer[Any]], offsets: Sequence[Sequence[int]]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """True affinities of a label volume, and where they are defined.

    Parameters
    ----------
    labels
        (z, y, x) integers, 0 = background.
    offsets
        One (z, y, x) voxel offset per channel.

    Returns
    -------
    affinities
        (c, z, y, x) uint8, 1 where v and v + offset carry one non-zero label, else 0.
    inside
        (c, z, y, x) bool, False where v + offset lies outside the volume.
    """
    affinities = np.zeros((len(offsets), *labels.shape), np.uint8)
    inside = np.zeros(affinities.shape, bool)
    for channel, offset in enumerate(offsets):
        here, there = pair_slices(offset)
        affinities[channel][here] = (labels[here] == labels[there]) & (labels[here] != 0)
        inside[channel][here] = True
    return affinities, inside
