"""Cut a region into write blocks of whole chunks, and give each block its read halo."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.roi import IntTriple

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Block:
    """One unit of work.

    Attributes
    ----------
    number : int
        Position in C order; results are reduced in this order, never in order of completion.
    index : tuple of int
        Position along each axis (zyx).
    box : tuple of slice
        The voxels this block writes, relative to the region's low corner.
    """

    number: int
    index: IntTriple
    box: Box

    @property
    def shape(self) -> IntTriple:
        """Voxels along each axis (zyx)."""
        z, y, x = (s.stop - s.start for s in self.box)
        return z, y, x

    @property
    def corner(self) -> IntTriple:
        """First voxel (zyx)."""
        z, y, x = (s.start for s in self.box)
        return z, y, x

    @property
    def name(self) -> str:
        """How messages call this block, for example ``block 3 (voxels 0:64, 64:128, 0:64)``."""
        spans = ", ".join(f"{s.start}:{s.stop}" for s in self.box)
        return f"block {self.number} (voxels {spans})"


@dataclass(frozen=True)
class Grid:
    """Write blocks that tile a region, in C order.

    Attributes
    ----------
    shape : tuple of int
        Voxels of the region (zyx).
    block : tuple of int
        Voxels of a block (zyx); blocks at the faces are cut.
    start : tuple of int
        Where in a block, of a lattice larger than the region, the region's low corner lies (zyx).
    """

    shape: IntTriple
    block: IntTriple
    start: IntTriple = (0, 0, 0)

    @property
    def counts(self) -> IntTriple:
        """Blocks along each axis (zyx)."""
        z, y, x = (math.ceil((s + o) / b) for s, b, o in zip(self.shape, self.block, self.start, strict=True))
        return z, y, x

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __getitem__(self, number: int) -> Block:
        if not 0 <= number < len(self):
            raise IndexError(number)
        _, ny, nx = self.counts
        z, rest = divmod(number, ny * nx)
        y, x = divmod(rest, nx)
        index = (z, y, x)
        lows = [i * b - o for i, b, o in zip(index, self.block, self.start, strict=True)]
        bz, by, bx = (
            slice(max(0, lo), min(lo + b, s)) for lo, b, s in zip(lows, self.block, self.shape, strict=True)
        )
        return Block(number, index, (bz, by, bx))

    def __iter__(self) -> Iterator[Block]:
        return (self[number] for number in range(len(self)))

    def without(self, numbers: Collection[int]) -> "Subset":
        """The blocks whose numbers are not among `numbers`, in order."""
        left = np.ones(len(self), bool)
        left[np.fromiter(numbers, np.int64, len(numbers))] = False
        return Subset(self, np.flatnonzero(left))

    def containing(self, voxel: Sequence[int]) -> int:
        """Number of the block that holds a voxel of the region."""
        _, ny, nx = self.counts
        z, y, x = ((int(v) + o) // b for v, b, o in zip(voxel, self.block, self.start, strict=True))
        return (z * ny + y) * nx + x


@dataclass(frozen=True)
class Subset(Sequence[Block]):
    """Some blocks of a grid, each made when it is asked for: eight bytes a block, however many there are.

    Attributes
    ----------
    grid : Grid
        The whole.
    numbers : ndarray of int64
        Which blocks, in order.
    """

    grid: Grid
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def without(self, numbers: Collection[int]) -> "Subset":
        """Those whose numbers are not among `numbers`."""
        done = np.fromiter(numbers, np.int64, len(numbers))
        return Subset(self.grid, self.numbers[~np.isin(self.numbers, done)])

    def spread(self, apart: IntTriple) -> "Subset":
        """The same blocks in an order in which those near each other (zyx, in blocks) are seldom in a row."""
        if not any(apart):
            return self
        place = np.unravel_index(self.numbers, self.grid.counts)
        turn = np.zeros(len(self.numbers), np.int64)
        for index, limit in zip(place, apart, strict=True):
            turn = turn * (limit + 1) + index % (limit + 1)
        return Subset(self.grid, self.numbers[np.argsort(turn, kind="stable")])

    @overload
    def __getitem__(self, index: int) -> Block: ...

    @overload
    def __getitem__(self, index: slice) -> "Subset": ...

    def __getitem__(self, index: int | slice) -> "Block | Subset":
        if isinstance(index, slice):
            return Subset(self.grid, self.numbers[index])
        return self.grid[int(self.numbers[index])]


def grow(box: Box, low: Sequence[int], high: Sequence[int], shape: Sequence[int]) -> Box:
    """Grow `box` by `low` and `high` voxels (zyx), clipped to ``0..shape``."""
    z, y, x = (
        slice(max(0, s.start - lo), min(n, s.stop + hi))
        for s, lo, hi, n in zip(box, low, high, shape, strict=True)
    )
    return z, y, x


def inside(box: Box, outer: Box) -> Box:
    """`box` in the coordinates of an array that was cut at `outer`."""
    z, y, x = (slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))
    return z, y, x


def chunk_for_block(block: IntTriple, shape: IntTriple, candidates: Sequence[int] = (64, 32)) -> IntTriple:
    """The largest chunk edge of which `block` is made of whole ones, axis by axis.

    A block that covers the whole region along an axis always fits.

    Raises
    ------
    InputError
        No candidate divides the block; the message names the nearest block that fits.
    """
    chunk = []
    for edge, size in zip(block, shape, strict=True):
        if edge < 1:
            raise InputError(f"--block: must be positive, got {block}.")
        if edge >= size:
            chunk.append(min(candidates[0], size))
            continue
        fitting = [c for c in candidates if edge % c == 0]
        if not fitting:
            raise broken_chunks(block, candidates[-1], "chunks")
        chunk.append(fitting[0])
    z, y, x = chunk
    return z, y, x


def broken_chunks(block: IntTriple, piece: int, pieces: str) -> InputError:
    """The error for a block that is not made of whole `pieces` of `piece` voxels; it names the nearest."""
    nearest = (max(1, round(edge / piece)) * piece for edge in block)
    return InputError(
        f"--block {' '.join(map(str, block))}: blocks must be whole {pieces} (multiples of {piece} voxels); "
        f"the nearest that fits is {' '.join(map(str, nearest))}."
    )
