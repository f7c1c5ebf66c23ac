"""Laminae: slabs of parallel fibres, each with its own direction in the plane, so that bundles cross."""

import numpy as np
from numba import njit

from connectomics.phantom.hashing import combine, signed, unit
from connectomics.phantom.tissue import BLOCK_CELLS, PITCH

BLOCK = BLOCK_CELLS * PITCH
"""Thickness of a coarse block of laminae, um."""


@njit(cache=True, nogil=True)
def lamina_at(tissue, u):  # type: ignore[no-untyped-def]
    """Return (lamina, low wall in um, lattice cells across) of the lamina that holds `u` (um)."""
    block = np.int64(np.floor(u / BLOCK))
    cell = (u - block * BLOCK) / PITCH
    kind = 1 if tissue.active < 1.0 else block_kind(tissue, block)
    first, last, part = 0, BLOCK_CELLS, 0
    if kind == 1:
        if cell < 8.0:
            last = 8
        else:
            first, part = 8, 1
    elif kind == 2:
        if cell < 5.0:
            last = 5
        elif cell < 11.0:
            first, last, part = 5, 11, 1
        else:
            first, part = 11, 2
    return block * 3 + part, block * BLOCK + first * PITCH, last - first


@njit(cache=True, nogil=True)
def block_kind(tissue, block):  # type: ignore[no-untyped-def]
    """How a coarse block is cut: 0 not at all (cell bodies fit in), 1 in two, 2 in three laminae."""
    drawn = unit(combine(combine(tissue.key, 21), block))
    return 0 if drawn < 0.45 else (1 if drawn < 0.75 else 2)


@njit(cache=True, nogil=True)
def lamina_angle(tissue, lamina):  # type: ignore[no-untyped-def]
    """In-plane angle (radians) of a lamina's fibres: mostly near 0, sometimes crossing."""
    key = combine(combine(tissue.key, 22), lamina)
    if unit(combine(key, 0)) < 0.35:
        side = 1.0 if unit(combine(key, 1)) < 0.5 else -1.0
        return side * (0.5 + unit(combine(key, 2)))
    return 0.2 * signed(combine(key, 3))


@njit(cache=True, nogil=True)
def bundle_active(tissue, lamina, b):  # type: ignore[no-untyped-def]
    """Whether the bundle of lattice column `b` holds fibres; every run of 8 bundles has its share."""
    if tissue.active >= 1.0:
        return True
    bundle = np.int64(np.floor(b / 8.0))
    run = np.int64(np.floor(bundle / 8.0))
    key = combine(combine(combine(tissue.key, 23), lamina), run)
    rank = unit(key) + 0.6180339887498949 * (bundle - 8 * run)
    return rank - np.floor(rank) < tissue.active
