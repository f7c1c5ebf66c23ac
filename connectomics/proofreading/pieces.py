"""Pieces of a cut fragment: how they are named, kept in a line of the log, and laid over stored fragments."""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import FormatError
from connectomics.proofreading.edits import FIRST_PIECE, Cut
from connectomics.roi import IntTriple

LARGEST_BOX = 1 << 28
"""Voxels of a box of pieces at most, so that a damaged log cannot ask for all memory."""


def piece_ids(key: str, fragment: int, number: int) -> tuple[int, ...]:
    """Ids of the pieces of a fragment in the edit with a key: in two logs no two are alike."""
    digests = (hashlib.sha256(f"{key}/{fragment}/{k}".encode()).digest() for k in range(number))
    return tuple(FIRST_PIECE + int.from_bytes(digest[:6], "big") for digest in digests)


def pack(labels: NDArray[np.uint8]) -> str:
    """(z, y, x) piece numbers as text."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(labels).tobytes(), 6)).decode()


def unpack(cut: Cut) -> NDArray[np.uint8]:
    """The piece numbers of a cut again.

    Raises
    ------
    FormatError
        They are damaged, or do not fit the box or the ids.
    """
    voxels = int(np.prod(cut.shape))
    try:
        if min(cut.shape) < 1 or voxels > LARGEST_BOX:
            raise ValueError(f"a box of {cut.shape} voxels")
        reader = zlib.decompressobj()
        data = reader.decompress(base64.b64decode(cut.labels, validate=True), voxels + 1)
        if not reader.eof:
            raise ValueError("cut short, or longer than its box")
        labels = np.frombuffer(data, np.uint8).reshape(cut.shape)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise FormatError(f"the cut of fragment {cut.fragment} is damaged ({error}).") from None
    if labels.max(initial=0) > len(cut.pieces) or min(cut.pieces, default=0) < FIRST_PIECE:
        raise FormatError(f"the cut of fragment {cut.fragment} is damaged: its pieces have no ids.")
    return labels


@dataclass(frozen=True, eq=False)
class LaidCut:
    """A cut in the numbering of a `SegmentMap`.

    Attributes
    ----------
    cut : Cut
    source : int
        Index of the fragment (or piece) that is cut.
    labels : (z, y, x) uint8
        See `Cut.labels`.
    index : (pieces + 1,) int64
        Index of each piece; entry 0 is unused.
    """

    cut: Cut
    source: int
    labels: NDArray[np.uint8]
    index: NDArray[np.int64]

    def lay(self, indices: NDArray[np.int64], corner: Sequence[int], factor: Sequence[int]) -> None:
        """Replace the cut fragment by its pieces in a box.

        Parameters
        ----------
        indices
            (z, y, x) index of the fragment of each voxel; changed in place.
        corner
            The first voxel at its level, zyx.
        factor
            Voxels of the finest level in one of this level, zyx; the one in the middle decides.
        """
        here, there = [], []
        for axis in range(3):
            first = -(-(self.cut.corner[axis] - factor[axis] // 2) // factor[axis])
            last = -(-(self.cut.corner[axis] + self.cut.shape[axis] - factor[axis] // 2) // factor[axis])
            low = max(first, corner[axis])
            high = min(last, corner[axis] + indices.shape[axis])
            if low >= high:
                return
            here.append(slice(low - corner[axis], high - corner[axis]))
            start = low * factor[axis] + factor[axis] // 2 - self.cut.corner[axis]
            there.append(slice(start, start + (high - low - 1) * factor[axis] + 1, factor[axis]))
        labels, target = self.labels[tuple(there)], indices[tuple(here)]
        mine = (target == self.source) & (labels > 0)
        target[mine] = self.index[labels[mine]]


def box_of(cut: Cut) -> tuple[IntTriple, IntTriple]:
    """First voxel, and the first beyond the last, of a cut's box."""
    z, y, x = (a + n for a, n in zip(cut.corner, cut.shape, strict=True))
    return cut.corner, (z, y, x)
