"""The one lattice of tiles over a volume: cores that do not overlap, each computed with its context."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import GeometryError
from connectomics.roi import IntTriple

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Tile:
    """One network call.

    Attributes
    ----------
    core : Box
        Voxels of the volume that this tile decides.
    source : Box
        Voxels of the volume that it reads: the core grown by its context, inside the volume.
    pad : IntTriple
        Voxels mirrored at the high end of each axis, where the volume ends before the network's multiple.
    """

    core: Box
    source: Box
    pad: IntTriple

    @property
    def shape(self) -> IntTriple:
        """Voxels of the input, padding included."""
        z, y, x = (s.stop - s.start + p for s, p in zip(self.source, self.pad, strict=True))
        return z, y, x

    @property
    def inner(self) -> Box:
        """Where the core lies in the input."""
        z, y, x = (
            slice(c.start - s.start, c.stop - s.start) for c, s in zip(self.core, self.source, strict=True)
        )
        return z, y, x

    def prepare(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Pad what was read from `source` (last three axes zyx) to `shape`, by mirroring."""
        if not any(self.pad):
            return raw
        width = [(0, 0)] * (raw.ndim - 3) + [(0, p) for p in self.pad]
        return np.pad(raw, width, mode="reflect")


def axis_spans(size: int, core: int, margin: int, divisor: int) -> Iterator[slice]:
    """Input spans, along one axis, of the tiles of a lattice; the last may reach beyond `size`.

    Each starts and stops on a multiple of `divisor`, so that a network that halves its input does so in
    step in every tile, and neighbours see the same pooled voxels.

    Examples
    --------
    >>> [(s.start, s.stop) for s in axis_spans(250, 128, 16, 16)]
    [(0, 144), (112, 256)]
    """
    for start in range(0, size, core):
        yield input_span(start, size, core, margin, divisor)


def input_span(start: int, size: int, core: int, margin: int, divisor: int) -> slice:
    """Input span of the tile whose core begins at `start`; see `axis_spans`."""
    low = max(0, start - margin) // divisor * divisor
    high = min(size, start + core + margin)
    return slice(low, math.ceil(high / divisor) * divisor)


def uniform_span(start: int, size: int, core: int, margin: int, divisor: int) -> slice:
    """Like `input_span`, of one length for all tiles of an axis: at its ends, more context on the other side.

    Examples
    --------
    >>> [uniform_span(start, 250, 64, 8, 8) for start in (0, 64, 128, 192)]
    [slice(0, 80, None), slice(56, 136, None), slice(120, 200, None), slice(176, 256, None)]
    """
    context, end = (math.ceil(n / divisor) * divisor for n in (margin, size))
    length = min(core + 2 * context, end)
    low = min(max(0, start - context), end - length)
    return slice(low, low + length)


@dataclass(frozen=True)
class TileLattice:
    """Cores of a fixed shape, anchored at voxel 0 of a volume.

    What a voxel becomes depends on the tile whose core holds it, and on nothing else: blocks of any size, in
    any order, give the same values.

    Attributes
    ----------
    shape : IntTriple
        Voxels of the volume, zyx.
    core : IntTriple
        Voxels of a core, a multiple of `divisor`.
    margin : IntTriple
        Context on each side of a core, voxels; clipped at the volume's faces.
    divisor : IntTriple
        Input tiles are a multiple of it.
    uniform : bool
        All input tiles have one shape: `uniform_span`. Else those at the volume's faces are smaller.
    """

    shape: IntTriple
    core: IntTriple
    margin: IntTriple
    divisor: IntTriple
    uniform: bool = False

    def __post_init__(self) -> None:
        if min(*self.shape, *self.core, *self.divisor) < 1 or min(self.margin) < 0:
            raise GeometryError(f"tiles: nothing to cut in {self}.")
        if any(c % d for c, d in zip(self.core, self.divisor, strict=True)):
            raise GeometryError(f"tiles: cores {self.core} must be multiples of {self.divisor}.")

    def tiles(self, box: Sequence[slice] | None = None) -> Iterator[Tile]:
        """The tiles whose cores meet `box` (default: all), z slowest.

        Raises
        ------
        GeometryError
            The box reaches outside the volume.
        """
        box = [slice(0, n) for n in self.shape] if box is None else box
        for one, size in zip(box, self.shape, strict=True):
            if not 0 <= one.start < one.stop <= size:
                raise GeometryError(f"box {tuple(box)} is empty or outside the volume of shape {self.shape}.")
        ranges = [range(b.start // c, -(-b.stop // c)) for b, c in zip(box, self.core, strict=True)]
        for index in itertools.product(*ranges):
            yield self.tile(index)

    def tile(self, index: Sequence[int]) -> Tile:
        """The tile at a lattice position (zyx)."""
        core, source, pad = [], [], []
        for i, n, c, m, d in zip(index, self.shape, self.core, self.margin, self.divisor, strict=True):
            span = (uniform_span if self.uniform else input_span)(i * c, n, c, m, d)
            core.append(slice(i * c, min(n, (i + 1) * c)))
            source.append(slice(span.start, min(span.stop, n)))
            pad.append(max(0, span.stop - n))
        return Tile((core[0], core[1], core[2]), (source[0], source[1], source[2]), (pad[0], pad[1], pad[2]))

    @property
    def largest(self) -> int:
        """Voxels of the largest input tile."""
        if self.uniform:
            return math.prod(self.tile((0, 0, 0)).shape)
        longest = [
            max(s.stop - s.start for s in axis_spans(n, c, m, d))
            for n, c, m, d in zip(self.shape, self.core, self.margin, self.divisor, strict=True)
        ]
        return math.prod(longest)


def scaled(box: Sequence[slice], scale: IntTriple) -> Box:
    """A box in voxels that are `scale` times finer (zyx)."""
    z, y, x = (slice(s.start * f, s.stop * f) for s, f in zip(box, scale, strict=True))
    return z, y, x


def common_part(core: Box, box: Sequence[slice]) -> tuple[Box, Box]:
    """The voxels common to a core and a box: slices within the core, slices within the box."""
    low = [max(c.start, b.start) for c, b in zip(core, box, strict=True)]
    high = [min(c.stop, b.stop) for c, b in zip(core, box, strict=True)]
    inside = [
        [slice(a - f.start, e - f.start) for a, e, f in zip(low, high, frame, strict=True)]
        for frame in (core, box)
    ]
    (cz, cy, cx), (bz, by, bx) = inside
    return (cz, cy, cx), (bz, by, bx)
