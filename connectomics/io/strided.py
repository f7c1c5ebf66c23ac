"""Every k-th voxel of a box, read block by block along chunk faces, so that no chunk is read twice."""

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.io.volume import Box, Volume
from connectomics.roi import IntTriple, triple

BLOCK_EDGE = 128
"""Edge, voxels, that a block does not exceed unless a chunk does: 17 MB of 64-bit labels."""


def cut_box(volume: Volume, box: Box, edge: int = BLOCK_EDGE) -> list[Box]:
    """Cut a box of a volume into blocks of whole chunks, as far as it is made of whole chunks."""
    cuts = []
    for along, chunk in zip(box, volume.chunks or (1, 1, 1), strict=True):
        length = max(1, edge // chunk) * chunk
        inner = range((along.start // length + 1) * length, along.stop, length)
        cuts.append([slice(a, b) for a, b in pairwise([along.start, *inner, along.stop])])
    return [(z, y, x) for z, y, x in product(*cuts)]


def read_strided(
    volume: Volume, box: Box, step: IntTriple, edge: int = BLOCK_EDGE
) -> Iterator[tuple[Box, NDArray[Any]]]:
    """Read every `step`-th voxel (zyx) of a box, the first included.

    Yields
    ------
    target : tuple of slice
        Where in the strided result the part goes.
    part : ndarray
        The voxels, as the volume holds them.
    """
    for block in cut_box(volume, box, edge):
        picked = [_pick(*axis) for axis in zip(block, box, step, strict=True)]
        (sz, tz), (sy, ty), (sx, tx) = picked
        yield (tz, ty, tx), volume.read_box(block)[..., sz, sy, sx]


def thinned(volume: Volume, step: IntTriple) -> Volume:
    """A coarser level made of every `step`-th voxel (zyx), for a volume that has none; nothing is read yet.

    Reading it reads all that lies between, a block at a time: memory stays small, time does not.
    """
    size = triple([v * s for v, s in zip(volume.voxel_size, step, strict=True)])
    return Volume(_Thinned(volume, step), size, volume.offset, volume.name, attributes=volume.attributes)


class _Thinned:
    """The array of `thinned`."""

    def __init__(self, volume: Volume, step: IntTriple) -> None:
        self.volume, self.step = volume, step
        lead = () if volume.channels is None else (volume.channels,)
        self.shape: tuple[int, ...] = (*lead, *(-(-n // s) for n, s in zip(volume.shape, step, strict=True)))
        self.dtype = volume.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        """Read by slices with start and stop."""
        *lead, z, y, x = key
        wanted = [
            slice(one.start * s, min((one.stop - 1) * s + 1, n))
            for one, s, n in zip((z, y, x), self.step, self.volume.shape, strict=True)
        ]
        shape = (*self.shape[: len(lead)], *(one.stop - one.start for one in (z, y, x)))
        result = np.zeros(shape, self.dtype)
        for target, part in read_strided(self.volume, (wanted[0], wanted[1], wanted[2]), self.step):
            result[(..., *target)] = part
        return result[tuple(lead)] if lead else result


def _pick(block: slice, whole: slice, step: int) -> tuple[slice, slice]:
    """Which voxels of a block are picked along one axis, and where in the result they go."""
    first = -(-(block.start - whole.start) // step)
    last = -(-(block.stop - whole.start) // step)
    return slice(first * step + whole.start - block.start, None, step), slice(first, last)
