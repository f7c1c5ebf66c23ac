"""What lies at a point: which fibre's section owns it, how deep inside, or how deep inside a cell body."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.phantom.bundles import lamina_at
from connectomics.phantom.cells import pull
from connectomics.phantom.deformation import Warp, make_warp, to_straight
from connectomics.phantom.fibres import BARE, DROPPED
from connectomics.phantom.sections import AXON, hard_depth, soft_depth
from connectomics.phantom.table import OWNER_WINDOW, Table, make_table
from connectomics.phantom.tissue import BLOCK_CELLS, KNOT, PITCH, Tissue

NOTHING, CELL_BODY = -1, -2
"""What `locate` returns in place of a section where no section owns the point."""


class Scene(NamedTuple):
    """All that compiled code needs to know about a box."""

    tissue: Tissue
    warp: Warp
    table: Table


def make_scene(tissue: Tissue, low: NDArray[Any], high: NDArray[Any]) -> Scene:
    """The scene of the box from `low` to `high` (um, zyx)."""
    warp = make_warp(tissue, low, high)
    return Scene(tissue, warp, make_table(tissue, warp))


@njit(cache=True, nogil=True)
def _owner(table, n, start, low, rows, u, v):  # type: ignore[no-untyped-def]
    columns = table.laminae[n, 3]
    a = min(rows - 1, max(0, np.int64(np.floor((u - low) / PITCH))))
    b = np.int64(np.floor(v / PITCH)) - table.laminae[n, 2]
    best, owner = 1e30, -1
    for c in range(max(0, a - OWNER_WINDOW), min(rows, a + OWNER_WINDOW + 1)):
        for j in range(b - OWNER_WINDOW, b + OWNER_WINDOW + 1):
            index = start + c * columns + j
            if table.kind[index] == DROPPED:
                continue
            du, dv, r = u - table.seed[index, 0], v - table.seed[index, 1], table.seed[index, 2]
            power = du * du + dv * dv - r * r
            if power < best:
                best, owner = power, index
    return owner


@njit(cache=True, nogil=True)
def locate(scene, z, y, x, guess):  # type: ignore[no-untyped-def]
    """Find what lies at a world point (um, zyx).

    Returns (section or NOTHING or CELL_BODY, nearest bound, u, v): inside a section `nearest` is the
    distance (um) to its nearest bound; inside a cell body `nearest` is the depth and `u` the body's radius.
    `guess` is the section of the voxel before: its fibre is tried first, which saves the search.
    """
    u, v, w = to_straight(scene.warp, scene.tissue.rotation, z, y, x)
    table = scene.table
    lamina, low, rows = lamina_at(scene.tissue, u)
    n = 0
    while table.laminae[n, 0] != lamina:
        n += 1
    cos, sin = table.walls[n, 1], table.walls[n, 2]
    v, w = cos * v + sin * w, cos * w - sin * v
    if rows == BLOCK_CELLS:
        u, v, depth, radius = pull(scene.tissue, lamina, low, u, v, w)
        if depth >= 0.0:
            return CELL_BODY, depth, radius, 0.0
    columns = table.laminae[n, 3]
    knot = np.int64(np.floor(w / KNOT)) - table.laminae[n, 4]
    start = table.laminae[n, 1] + knot * rows * columns
    before = guess - table.laminae[n, 1]
    if 0 <= before < table.laminae[n, 5] * rows * columns:
        same = start + before % (rows * columns)
        nearest = hard_depth(table.planes[same], table.kept[same], table.seed[same], u, v)
        if nearest > 1e-3:
            return same, nearest, u, v
    owner = _owner(table, n, start, low, rows, u, v)
    if owner < 0:
        return NOTHING, 0.0, u, v
    nearest = hard_depth(table.planes[owner], table.kept[owner], table.seed[owner], u, v)
    return owner, nearest, u, v


@njit(cache=True, nogil=True)
def depth_in(table, index, nearest, u, v):  # type: ignore[no-untyped-def]
    """Soft depth (um) of a point inside the section `index`; `nearest` as `locate` returned it."""
    return soft_depth(table.planes[index], table.kept[index], table.seed[index], u, v, nearest)


@njit(cache=True, nogil=True)
def _label(scene, index, nearest, u, v):  # type: ignore[no-untyped-def]
    table = scene.table
    if index < 0 or table.kind[index] < BARE:
        return np.uint64(0)
    start = table.profile[index, AXON]
    if nearest <= start:
        return np.uint64(0)
    if nearest <= start + 0.12 and depth_in(table, index, nearest, u, v) <= start:
        return np.uint64(0)
    return table.fibre[index]


@njit(cache=True, nogil=True)
def fill_labels(scene, voxel, low, out):  # type: ignore[no-untyped-def]
    """Write the labels of the voxels (edge `voxel`, um) from index `low` on into `out`."""
    for i in range(out.shape[0]):
        z = (low[0] + i + 0.5) * voxel
        for j in range(out.shape[1]):
            y = (low[1] + j + 0.5) * voxel
            guess = -1
            for k in range(out.shape[2]):
                index, nearest, u, v = locate(scene, z, y, (low[2] + k + 0.5) * voxel, guess)
                out[i, j, k] = _label(scene, index, nearest, u, v)
                guess = index
