"""The fibres of a lamina: jittered, thinned lattice seeds, and where each one runs and how thick it is."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.phantom.bundles import BLOCK, block_kind, bundle_active
from connectomics.phantom.cells import ROW, reserved_column
from connectomics.phantom.hashing import combine, noise_1d, signed, unit
from connectomics.phantom.tissue import BLOCK_CELLS, PITCH

DROPPED, EMPTY, BARE, MYELINATED = 0, 1, 2, 3
"""What a lattice seed is: thinned out, without a fibre (glia or resin), a bare axon, a myelinated axon."""

WINDOW = 3
"""Lattice cells to each side in which neighbours are looked for."""

SMALLEST, LARGEST = 0.2, 1.15
"""Bounds of a fibre's radius, um."""

_JITTER = 0.7
_SCALE = 0.135
_MINIMUM_DEPTH = 0.23
_WANDER, _WANDER_LENGTH = 0.10, 6.0
_SWELL, _SWELL_LENGTH = 0.10, 4.0
_COLUMN_BITS = 22


class Sites(NamedTuple):
    """Seeds of one lamina: arrays (cells across, columns); column 0 is lattice column `first`."""

    first: int
    low: float  # low wall, um
    high: float  # high wall, um
    u: NDArray[np.float64]  # mean position, um
    v: NDArray[np.float64]
    radius: NDArray[np.float64]  # um
    hash: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    fibre: NDArray[np.uint64]  # label


@njit(cache=True, nogil=True)
def _draw(tissue, lamina, sites):  # type: ignore[no-untyped-def]
    packed = tissue.active >= 1.0
    whole = packed and block_kind(tissue, np.int64(np.floor(lamina / 3.0))) == 0
    for a in range(sites.u.shape[0]):
        for i in range(sites.u.shape[1]):
            b = sites.first + i
            key = combine(combine(combine(combine(tissue.key, 51), lamina), a), b)
            drawn = 1.0
            for n in range(4):
                drawn *= 1.0 - unit(combine(key, n))
            radius = min(LARGEST, max(SMALLEST, -_SCALE * math.log(drawn)))
            ju, jv = 0.5 * _JITTER * signed(combine(key, 5)), 0.5 * _JITTER * signed(combine(key, 6))
            share = tissue.unmyelinated * max(0.0, 1.0 - (radius - SMALLEST) / 0.45)
            kind = BARE if unit(combine(key, 7)) < share else MYELINATED
            if not bundle_active(tissue, lamina, b):
                kind = EMPTY
            if whole and a == ROW and b == reserved_column(tissue, lamina, np.int64(np.floor(b / 16.0))):
                kind, radius, ju, jv = EMPTY, 0.5, 0.0, 0.0
            sites.u[a, i] = sites.low + (a + 0.5 + ju) * PITCH
            sites.v[a, i] = (b + 0.5 + jv) * PITCH
            sites.radius[a, i] = radius
            sites.hash[a, i] = key
            sites.kind[a, i] = kind
            column = np.uint64(b + (1 << (_COLUMN_BITS - 1)))
            row = (np.uint64(lamina + (1 << 15)) << np.uint64(4)) | np.uint64(a)
            sites.fibre[a, i] = (row << np.uint64(_COLUMN_BITS)) | column


@njit(cache=True, nogil=True)
def _is_thin(sites, packed, a, i):  # type: ignore[no-untyped-def]
    """Whether a larger candidate nearby, or a wall, would leave the seed too little depth."""
    u, v, r = sites.u[a, i], sites.v[a, i], sites.radius[a, i]
    if min(u - sites.low, sites.high - u) < _MINIMUM_DEPTH:
        return True
    for da in range(-WINDOW, WINDOW + 1):
        for db in range(-WINDOW, WINDOW + 1):
            c, j = a + da, i + db
            if c < 0 or c >= sites.u.shape[0] or (da == 0 and db == 0):
                continue
            first = sites.radius[c, j] > r or (
                sites.radius[c, j] == r and sites.hash[c, j] > sites.hash[a, i]
            )
            if packed and sites.kind[c, j] == EMPTY:
                first = True
            if first:
                gap = math.hypot(sites.u[c, j] - u, sites.v[c, j] - v)
                if gap * gap - sites.radius[c, j] ** 2 + r * r < 2.0 * gap * _MINIMUM_DEPTH:
                    return True
    return False


@njit(cache=True, nogil=True)
def _thin_out(sites, packed, dropped):  # type: ignore[no-untyped-def]
    for a in range(dropped.shape[0]):
        for i in range(WINDOW, dropped.shape[1] - WINDOW):
            if not (packed and sites.kind[a, i] == EMPTY):
                dropped[a, i] = _is_thin(sites, packed, a, i)
    for a in range(dropped.shape[0]):
        for i in range(dropped.shape[1]):
            if dropped[a, i]:
                sites.kind[a, i] = DROPPED


def make_sites(tissue, lamina: int, low: float, cells: int, columns: tuple[int, int]) -> Sites:  # type: ignore[no-untyped-def]
    """Seeds of the lattice columns `columns` (half open) of a lamina; each depends on its neighbours only."""
    first, count = columns[0] - WINDOW, columns[1] - columns[0] + 2 * WINDOW
    shape = (cells, count)
    wide = Sites(
        first,
        low,
        low + cells * PITCH,
        np.empty(shape),
        np.empty(shape),
        np.empty(shape),
        np.empty(shape, np.uint64),
        np.empty(shape, np.uint8),
        np.empty(shape, np.uint64),
    )
    _draw(tissue, lamina, wide)
    _thin_out(wide, tissue.active >= 1.0, np.zeros(shape, np.bool_))
    return cut_columns(wide, WINDOW, count - WINDOW)


def cut_columns(sites: Sites, start: int, stop: int) -> Sites:
    """The seeds of the columns from `start` to `stop`, counted from the first."""
    cut = tuple(np.ascontiguousarray(array[:, start:stop]) for array in sites[3:])
    return Sites(sites.first + start, sites.low, sites.high, *cut)  # type: ignore[arg-type]


@njit(cache=True, nogil=True)
def section(sites, a, i, w, out):  # type: ignore[no-untyped-def]
    """Write (u, v, radius) of a seed at `w` (um) into `out`: it wanders and swells along the fibre."""
    key = sites.hash[a, i]
    out[0] = sites.u[a, i] + _WANDER * noise_1d(combine(key, 61), w / _WANDER_LENGTH)
    out[1] = sites.v[a, i] + _WANDER * noise_1d(combine(key, 62), w / _WANDER_LENGTH)
    out[2] = sites.radius[a, i] * (1.0 + _SWELL * noise_1d(combine(key, 63), w / _SWELL_LENGTH))


def lamina_cells(tissue, lamina: int) -> tuple[float, int]:  # type: ignore[no-untyped-def]
    """Low wall (um) and lattice cells across of a lamina; no cells when the block has fewer laminae."""
    block, part = divmod(lamina, 3)
    kind = 1 if tissue.active < 1.0 else int(block_kind(tissue, block))
    walls = ((0, BLOCK_CELLS), (0, 8, BLOCK_CELLS), (0, 5, 11, BLOCK_CELLS))[kind]
    if part + 1 >= len(walls):
        return 0.0, 0
    return block * BLOCK + walls[part] * PITCH, walls[part + 1] - walls[part]
