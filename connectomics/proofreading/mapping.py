"""Which segment a fragment is of, after edits: an overlay on the lookup table that a merge changes in no time.

Two tables: fragment -> node, where a node is a segment as it was found or a group that was split off, and
node -> segment. A merge rewrites the entries of the nodes of one segment, a split those of the fragments that
leave: neither grows with the volume or the number of fragments.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.proofreading.edits import Edit


class Mapping:
    """The segments after some edits.

    Parameters
    ----------
    lut
        (fragments + 1,) uint64 segment of each fragment as it was found; ``lut[0] = 0``.
    voxels
        (fragments + 1,) voxels of each fragment.

    Attributes
    ----------
    edits : list of Edit
        Those applied, in order.
    """

    def __init__(self, lut: NDArray[np.uint64], voxels: NDArray[np.int64]) -> None:
        raise NotImplementedError

    def apply(self, edit: Edit) -> frozenset[int]:
        """Apply an edit; the ids of the segments that changed, appeared or went.

        Raises
        ------
        InputError
            It names fragments that are not there, or makes no sense now: a merge of one segment with itself,
            groups that are not of one segment, a segment that is deleted already.
        """
        raise NotImplementedError

    def undo(self) -> frozenset[int]:
        """Take the last edit back, exactly; the segments that changed."""
        raise NotImplementedError

    def segment_of(self, fragment: int) -> int:
        """Current segment of a fragment or piece; 0 where it is none or deleted."""
        raise NotImplementedError

    def segments_of(self, fragments: NDArray[Any]) -> NDArray[np.uint64]:
        """Current segments of many fragments (no pieces), any shape: a block of labels/fragments."""
        raise NotImplementedError

    def fragments_of(self, segment: int) -> NDArray[np.int64]:
        """Fragments and pieces of a segment, ascending."""
        raise NotImplementedError

    def voxels_of(self, segment: int) -> int:
        """Voxels of a segment."""
        raise NotImplementedError

    def overlay(
        self, fragments: NDArray[np.uint64], corner: Sequence[int], factor: Sequence[int]
    ) -> NDArray[np.uint64]:
        """Current segments of a box of labels/fragments, pieces of cut fragments included.

        Parameters
        ----------
        fragments
            (z, y, x) fragment ids as stored.
        corner
            The box's first voxel at its level, zyx.
        factor
            Voxels of the finest level in one of this level, zyx.
        """
        raise NotImplementedError
