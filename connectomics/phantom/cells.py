"""Cell bodies: rows of them in reserved columns, pushing the fibres around them aside."""

import numpy as np
from numba import njit

from connectomics.phantom.bundles import BLOCK
from connectomics.phantom.hashing import combine, signed, unit
from connectomics.phantom.tissue import BLOCK_CELLS, PITCH

REACH = 5.4
"""Distance from a column's axis at which nothing is pushed any more, um."""

RADIUS = 2.4
"""Largest radius of a cell body, um."""

HALF_LENGTH = 6.0
"""Half the length of a cell body along the fibres, um."""

_PERIOD = 16.0
ROW = 8
"""Lattice row of the reserved column in a lamina of 16."""


@njit(cache=True, nogil=True)
def reserved_column(tissue, lamina, block):  # type: ignore[no-untyped-def]
    """Lattice column reserved for cell bodies in a coarse block, or -2^60 when it has none."""
    key = combine(combine(combine(tissue.key, 31), lamina), block)
    if unit(combine(key, 0)) > 0.65:
        return np.int64(-(2**60))
    return block * BLOCK_CELLS + 7 + np.int64(3.0 * unit(combine(key, 1)))


@njit(cache=True, nogil=True)
def cell_radius(tissue, lamina, column, w):  # type: ignore[no-untyped-def]
    """Radius (um) of the cell body of a reserved column at `w` (um); 0 between cell bodies."""
    index = np.int64(np.floor(w / _PERIOD))
    key = combine(combine(combine(combine(tissue.key, 32), lamina), column), index)
    if unit(combine(key, 0)) > 0.6:
        return 0.0
    t = (w - (index + 0.5) * _PERIOD - 1.8 * signed(combine(key, 1))) / HALF_LENGTH
    if t * t >= 1.0:
        return 0.0
    return RADIUS * (0.75 + 0.25 * unit(combine(key, 2))) * (1.0 - t * t) ** 2


@njit(cache=True, nogil=True)
def pull(tissue, lamina, low, u, v, w):  # type: ignore[no-untyped-def]
    """Undo the push at a point: return (u, v, depth inside a cell body or -1, the body's radius there)."""
    column = reserved_column(tissue, lamina, np.int64(np.floor(v / BLOCK)))
    if column < -(2**50):
        return u, v, -1.0, 0.0
    du, dv = u - low - (ROW + 0.5) * PITCH, v - (column + 0.5) * PITCH
    square = du * du + dv * dv
    if square >= REACH * REACH:
        return u, v, -1.0, 0.0
    radius = cell_radius(tissue, lamina, column, w)
    if radius <= 0.0:
        return u, v, -1.0, 0.0
    r = np.sqrt(square)
    if r <= radius:
        return u, v, radius - r, radius
    scale = (r - radius) * REACH / (REACH - radius) / r
    return u + du * (scale - 1.0), v + dv * (scale - 1.0), -1.0, radius


@njit(cache=True, nogil=True)
def push(tissue, lamina, low, u, v, w):  # type: ignore[no-untyped-def]
    """The inverse of `pull` for a point outside every cell body: return (u, v)."""
    column = reserved_column(tissue, lamina, np.int64(np.floor(v / BLOCK)))
    if column < -(2**50):
        return u, v
    du, dv = u - low - (ROW + 0.5) * PITCH, v - (column + 0.5) * PITCH
    r = np.sqrt(du * du + dv * dv)
    radius = cell_radius(tissue, lamina, column, w)
    if r >= REACH or radius <= 0.0 or r == 0.0:
        return u, v
    scale = (radius + r * (REACH - radius) / REACH) / r
    return u + du * (scale - 1.0), v + dv * (scale - 1.0)
