"""Split a segment by seeds: fragments by the region graph; a fragment with two seeds by the affinities nearby."""

from collections.abc import Sequence
from dataclasses import dataclass

from connectomics.proofreading.edits import Split
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output
from connectomics.roi import Triple


@dataclass(frozen=True)
class Seed:
    """A point of a group.

    Attributes
    ----------
    place : tuple of float
        nm, zyx (world, as `Volume.offset`).
    group : int
        Seeds of different groups are kept apart.
    """

    place: Triple
    group: int


def split_by_seeds(output: Output, mapping: SegmentMap, seeds: Sequence[Seed], author: str) -> Split:
    """The split that keeps the seeds of different groups apart; nothing is applied.

    Raises
    ------
    InputError
        Fewer than two groups, a seed outside the volume or on the background, seeds of several segments, two
        groups on one voxel.
    """
    raise NotImplementedError
