"""Skeletons of the axons in a box: their seed lines, carried into the tissue, with radii."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.io.skeletons import Skeletons
from connectomics.phantom.bundles import BLOCK, lamina_angle, lamina_at
from connectomics.phantom.cells import RADIUS, pull, push
from connectomics.phantom.deformation import LARGEST, point_warp, to_world
from connectomics.phantom.fibres import (
    BARE,
    MYELINATED,
    WINDOW,
    cut_columns,
    lamina_cells,
    make_sites,
    section,
)
from connectomics.phantom.sections import (
    AXON,
    MOST_PLANES,
    cut_planes,
    hard_depth,
    seed_depth,
    soft_depth,
    write_profile,
)
from connectomics.phantom.tissue import BLOCK_CELLS, KNOT, PITCH, Tissue
from connectomics.roi import Roi

STEP = 8
"""Knots between two nodes of a skeleton (8 x 0.05 um)."""

THINNEST, THINNEST_BARE = 0.10, 0.18
"""Mean inner radius (um) below which a myelinated or a bare axon is left out: it cannot be told at 100 nm."""


@njit(cache=True, nogil=True)
def _current(sites, i, w, out):  # type: ignore[no-untyped-def]
    """Sections at `w` of every seed within the window of column `i`; `out` is (rows, window, 3)."""
    for a in range(out.shape[0]):
        for j in range(out.shape[1]):
            section(sites, a, i - WINDOW + j, w, out[a, j])


@njit(cache=True, nogil=True)
def _own_depth(frame, seed_at, current, cut, point):  # type: ignore[no-untyped-def]
    """Depth (um) inside the axon's label of a world point; negative outside it."""
    tissue, lamina, cos, sin, warp_scratch = frame
    sites, window, a, i = seed_at
    planes, profile = cut
    dz, dy, dx = point_warp(tissue.key, point[0], point[1], point[2], warp_scratch)
    r = tissue.rotation
    z, y, x = point[0] + dz, point[1] + dy, point[2] + dx
    u = r[0] * z + r[1] * y + r[2] * x
    v = r[3] * z + r[4] * y + r[5] * x
    w = r[6] * z + r[7] * y + r[8] * x
    here, low, rows = lamina_at(tissue, u)
    if here != lamina:
        return -1.0
    v, w = cos * v + sin * w, cos * w - sin * v
    if rows == BLOCK_CELLS:
        u, v, body, _ = pull(tissue, lamina, low, u, v, w)
        if body >= 0.0:
            return -1.0
    w = (np.floor(w / KNOT) + 0.5) * KNOT
    _current(sites, i, w, current)
    seed = current[a, WINDOW]
    count = cut_planes(window, current, a, WINDOW, planes)
    depth = seed_depth(planes, count, seed)
    write_profile(tissue, (sites.kind[a, i], sites.hash[a, i]), w, seed, depth, profile)
    nearest = hard_depth(planes, count, seed, u, v)
    if nearest <= 0.0:
        return -1.0
    return soft_depth(planes, count, seed, u, v, nearest) - profile[AXON]


@njit(cache=True, nogil=True)
def _trace(frame, seed_at, knots, voxel, bounds, out):  # type: ignore[no-untyped-def]
    """Write one fibre's nodes (z, y, x, radius in um; run) inside `bounds` into `out`; return how many."""
    tissue, lamina, cos, sin, scratch = frame
    sites, _, a, i = seed_at
    current = np.empty((sites.u.shape[0], 2 * WINDOW + 1, 3))
    planes, profile, centre = np.empty((MOST_PLANES, 3)), np.empty(5), np.empty(3)
    place = np.empty(3)
    count, run, was_inside = 0, 0, False
    for n in range((knots[1] - knots[0]) // STEP):
        w = (knots[0] + n * STEP + 0.5) * KNOT
        section(sites, a, i, w, place)
        u, v = place[0], place[1]
        if sites.u.shape[0] == BLOCK_CELLS:
            u, v = push(tissue, lamina, sites.low, u, v, w)
        z, y, x = to_world(tissue, u, cos * v - sin * w, sin * v + cos * w, scratch)
        inside = (bounds[0, 0] <= z < bounds[1, 0]) and (bounds[0, 1] <= y < bounds[1, 1])
        inside = inside and bounds[0, 2] <= x < bounds[1, 2]
        if not inside:
            run += 1 if was_inside else 0
            was_inside = False
            continue
        was_inside = True
        place[0], place[1], place[2] = z, y, x
        for axis in range(3):
            centre[axis] = (np.floor(place[axis] / voxel) + 0.5) * voxel
        radius = _own_depth(frame, seed_at, current, (planes, profile), place)
        if _own_depth(frame, seed_at, current, (planes, profile), centre) > 1e-6:
            out[count, 0], out[count, 1], out[count, 2] = z, y, x
            out[count, 3], out[count, 4] = radius, run
            count += 1
    return count


def trace_skeletons(tissue: Tissue, voxel: float, roi: Roi) -> Skeletons:
    """Skeletons of the axons inside `roi`, in nm, one id (the label) per fibre.

    A node is the fibre's seed line at a step of 0.4 um; the few whose voxel is not in the fibre's own label
    (a pinch thinner than a voxel) are left out and bridged. Axons thinner than `THINNEST` on average (bare
    ones: `THINNEST_BARE`) or than a voxel, and those of one node, are left out.
    """
    bounds = np.asarray([roi.offset, roi.end]) / 1000
    found: list[tuple[int, NDArray[np.float64]]] = []
    for lamina, low, rows, columns, knots in _spans(tissue, bounds):
        sites = make_sites(tissue, lamina, low, rows, (columns[0] - WINDOW, columns[1] + WINDOW))
        angle = float(lamina_angle(tissue, lamina))
        frame = (tissue, lamina, np.cos(angle), np.sin(angle), np.empty((2, 2, 2, 3)))
        out = np.empty(((knots[1] - knots[0]) // STEP + 1, 5))
        for a in range(rows):
            for i in range(WINDOW, sites.u.shape[1] - WINDOW):
                if sites.kind[a, i] < BARE:
                    continue
                seed_at = (sites, cut_columns(sites, i - WINDOW, i + WINDOW + 1), a, i)
                nodes = out[: _trace(frame, seed_at, knots, voxel, bounds, out)].copy()
                thinnest = THINNEST if sites.kind[a, i] == MYELINATED else THINNEST_BARE
                if len(nodes) > 1 and nodes[:, 3].mean() >= max(thinnest, voxel):
                    found.append((int(sites.fibre[a, i]), nodes))
    return _assemble(found)


def _spans(tissue: Tissue, bounds: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    grown = bounds + np.asarray([[-LARGEST], [LARGEST]])
    corners = np.stack(np.meshgrid(*grown.T, indexing="ij"), -1).reshape(-1, 3)
    u, v, w = np.asarray(tissue.rotation).reshape(3, 3) @ corners.T
    for lamina in range(3 * int(np.floor(u.min() / BLOCK)), 3 * int(np.floor(u.max() / BLOCK)) + 3):
        low, rows = lamina_cells(tissue, lamina)
        if rows == 0 or low > u.max() or low + rows * PITCH < u.min():
            continue
        angle = float(lamina_angle(tissue, lamina))
        across = np.cos(angle) * v + np.sin(angle) * w
        along = np.cos(angle) * w - np.sin(angle) * v
        columns = [
            int(np.floor((e + s * RADIUS) / PITCH)) + s for e, s in ((across.min(), -1), (across.max(), 1))
        ]
        first = int(np.floor(along.min() / KNOT)) // STEP * STEP
        yield lamina, low, rows, (columns[0], columns[1] + 1), (first, int(along.max() / KNOT) + STEP)


def _assemble(found: list[tuple[int, NDArray[np.float64]]]) -> Skeletons:
    nodes = np.concatenate([np.empty((0, 5)), *(n for _, n in found)])
    ids = np.concatenate([np.empty(0, np.int64), *(np.full(len(n), i, np.int64) for i, n in found)])
    joined = np.flatnonzero((ids[1:] == ids[:-1]) & (nodes[1:, 4] == nodes[:-1, 4]))
    edges = np.stack([joined, joined + 1], axis=1).astype(np.int64)
    return Skeletons(nodes=nodes[:, :3] * 1000, edges=edges, ids=ids, radii=nodes[:, 3] * 1000)
