"""A place of the queue cut out for looking: the two sides alone, in a box around where they meet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.io.volume import Box, Volume
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.ranking import Candidate
from connectomics.proofreading.split import Seed
from connectomics.roi import IntTriple, Triple, triple

FIRST, SECOND, REST = 1, 2, 3
"""Values of a focus: either side, and what else is of a segment that may be two."""

EDGE = 96
"""Edge of the box, voxels of the finest level."""

SEEDS_PER_GROUP = 64
"""Of painted seeds so many a group are handed on: they are neighbours, and more say nothing more."""


@dataclass(frozen=True, eq=False)
class Focus:
    """The two sides of a candidate in a box.

    Attributes
    ----------
    labels : (z, y, x) uint8
        `FIRST` and `SECOND`: the two sides; `REST`: of a split, the remainder of the segment; 0: all else.
    voxel_size, offset : tuple of float
        nm, zyx; the offset is the low corner of voxel 0.
    place : tuple of float
        Where the sides meet, nm, zyx.
    """

    labels: NDArray[np.uint8]
    voxel_size: Triple
    offset: Triple
    place: Triple

    @property
    def size(self) -> Triple:
        """Extent of the box, nm, zyx."""
        return triple([n * v for n, v in zip(self.labels.shape, self.voxel_size, strict=True)])


def box_around(volume: Volume, place: Sequence[float], edge: int = EDGE) -> Box:
    """A box of at most `edge` voxels along each axis around a point (nm, zyx), moved to lie inside."""
    slices = []
    for p, o, v, n in zip(place, volume.offset, volume.voxel_size, volume.shape, strict=True):
        length = min(edge, n)
        start = int(np.clip((p - o) // v - length // 2, 0, n - length))
        slices.append(slice(start, start + length))
    z, y, x = slices
    return z, y, x


def focus_on(fragments: Volume, mapping: SegmentMap, candidate: Candidate, edge: int = EDGE) -> Focus:
    """Cut the two sides of a candidate out.

    Parameters
    ----------
    fragments
        The finest level of ``labels/fragments``.
    mapping
        The segments as they are now.
    candidate
        The place; of a "merge" the sides are its two segments, of a "split" its two fragments.
    edge
        Edge of the box, voxels.
    """
    box = box_around(fragments, candidate.place, edge)
    corner: IntTriple = (box[0].start, box[1].start, box[2].start)
    stored = fragments.read_box(box)
    now = mapping.overlay(stored, corner, (1, 1, 1))
    first, second = (mapping.segment_of(one) for one in candidate.fragments)
    labels = np.zeros(stored.shape, np.uint8)
    if first != second and 0 not in (first, second):
        labels[now == first], labels[now == second] = FIRST, SECOND
    else:
        labels[(now == first) & (now != 0)] = REST
        labels[stored == candidate.fragments[0]] = FIRST
        labels[stored == candidate.fragments[1]] = SECOND
        labels[now == 0] = 0
    low = [o + v * c for o, v, c in zip(fragments.offset, fragments.voxel_size, corner, strict=True)]
    return Focus(labels, fragments.voxel_size, triple(low), candidate.place)


def seeds_from_paint(painted: NDArray[np.integer], voxel_size: Triple, offset: Triple) -> list[Seed]:
    """Seeds from voxels that were painted.

    Parameters
    ----------
    painted
        (z, y, x) group of each voxel, 0 where nothing was painted.
    voxel_size, offset
        nm, zyx; the offset is the low corner of voxel 0.

    Raises
    ------
    InputError
        Nothing was painted.
    """
    seeds = []
    for group in np.unique(painted[painted > 0]).tolist():
        voxels = np.argwhere(painted == group)
        chosen = voxels[np.linspace(0, len(voxels) - 1, min(len(voxels), SEEDS_PER_GROUP)).astype(int)]
        for place in ((chosen + 0.5) * voxel_size + offset).tolist():
            seeds.append(Seed(triple(place), int(group)))
    if not seeds:
        raise InputError("nothing is painted: paint one label on each side of where the segment should part.")
    return seeds
