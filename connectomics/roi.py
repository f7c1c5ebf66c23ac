"""A box in world space (nm, zyx): grow it, intersect it, snap it to voxels, turn it into slices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from connectomics.errors import GeometryError

Triple = tuple[float, float, float]
IntTriple = tuple[int, int, int]

OFF_GRID_TOLERANCE = 1e-3
"""How far, in voxels, an offset may lie off a voxel grid and still count as on it."""


def triple(values: Sequence[float], name: str = "value") -> Triple:
    """Return three finite floats in z, y, x order, or raise GeometryError."""
    if len(values) != 3 or not all(math.isfinite(v) for v in values):
        raise GeometryError(f"{name}: expected three finite numbers (z y x), got {list(values)}.")
    z, y, x = (float(v) for v in values)
    return z, y, x


def int_triple(values: Sequence[float], name: str = "value") -> IntTriple:
    """Return three integers in z, y, x order, or raise GeometryError."""
    z, y, x = triple(values, name)
    if any(v != int(v) for v in (z, y, x)):
        raise GeometryError(f"{name}: expected three integers (z y x), got {list(values)}.")
    return int(z), int(y), int(x)


@dataclass(frozen=True)
class Roi:
    """A box in world coordinates.

    Attributes
    ----------
    offset : tuple of float
        Low corner, nm, zyx.
    size : tuple of float
        Extent, nm, zyx; never negative.
    """

    offset: Triple
    size: Triple

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset", triple(self.offset, "offset"))
        object.__setattr__(self, "size", triple(self.size, "size"))
        if min(self.size) < 0:
            raise GeometryError(f"size: must not be negative, got {self.size}.")

    @classmethod
    def from_corners(cls, low: Sequence[float], high: Sequence[float]) -> Self:
        """The box between two corners; empty along an axis where `high` is not above `low`."""
        low, high = triple(low), triple(high)
        return cls(low, triple([max(0.0, h - o) for o, h in zip(low, high, strict=True)]))

    @property
    def end(self) -> Triple:
        """High corner, nm, zyx (exclusive)."""
        return triple([o + s for o, s in zip(self.offset, self.size, strict=True)])

    @property
    def empty(self) -> bool:
        """True when the box has no volume."""
        return min(self.size) <= 0

    def grow(self, margin: Sequence[float]) -> "Roi":
        """Grow by `margin` nm (zyx) on both sides; a negative margin shrinks."""
        margin = triple(margin)
        low = [o - m for o, m in zip(self.offset, margin, strict=True)]
        high = [e + m for e, m in zip(self.end, margin, strict=True)]
        return Roi.from_corners(low, high)

    def intersect(self, other: "Roi") -> "Roi":
        """The common box; empty where there is none."""
        low = [max(a, b) for a, b in zip(self.offset, other.offset, strict=True)]
        high = [min(a, b) for a, b in zip(self.end, other.end, strict=True)]
        return Roi.from_corners(low, high)

    def contains(self, other: "Roi") -> bool:
        """True when `other` lies wholly inside, to 1e-6 nm."""
        low = all(a <= b + 1e-6 for a, b in zip(self.offset, other.offset, strict=True))
        return low and all(a >= b - 1e-6 for a, b in zip(self.end, other.end, strict=True))

    def snap(self, voxel_size: Sequence[float], origin: Sequence[float] = (0, 0, 0)) -> "Roi":
        """The smallest box on the voxel grid through `origin` that contains this one."""
        size, start = triple(voxel_size), triple(origin)
        low, high = [], []
        for o, e, v, s in zip(self.offset, self.end, size, start, strict=True):
            low.append(s + v * math.floor((o - s) / v + OFF_GRID_TOLERANCE))
            high.append(s + v * math.ceil((e - s) / v - OFF_GRID_TOLERANCE))
        return Roi.from_corners(low, high)

    def slices(self, voxel_size: Sequence[float], origin: Sequence[float]) -> tuple[slice, slice, slice]:
        """Slices of this box in an array whose voxel 0 has its low corner at `origin`.

        Raises
        ------
        GeometryError
            The box lies off the voxel grid by more than `OFF_GRID_TOLERANCE` voxels.
        """
        start = on_grid(self.offset, voxel_size, origin, "offset")
        stop = on_grid(self.end, voxel_size, origin, "end")
        z, y, x = (slice(a, b) for a, b in zip(start, stop, strict=True))
        return z, y, x


def on_grid(
    point: Sequence[float], voxel_size: Sequence[float], origin: Sequence[float], name: str
) -> IntTriple:
    """Voxel index of `point` (nm), which must lie on a voxel corner of the grid."""
    exact = [(p - o) / v for p, o, v in zip(point, origin, voxel_size, strict=True)]
    whole = [round(value) for value in exact]
    if any(abs(a - b) > OFF_GRID_TOLERANCE for a, b in zip(exact, whole, strict=True)):
        raise GeometryError(
            f"{name} {tuple(point)} nm is not on the voxel grid (voxel size {tuple(voxel_size)} nm, "
            f"origin {tuple(origin)} nm): it falls at voxel {tuple(exact)}."
        )
    z, y, x = whole
    return z, y, x
