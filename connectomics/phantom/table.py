"""Everything a box's voxels look up: the sections of every fibre near it, at every step along the fibres."""

import itertools
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.phantom.bundles import BLOCK, bundle_active, lamina_angle
from connectomics.phantom.cells import RADIUS
from connectomics.phantom.deformation import SPACING, Warp
from connectomics.phantom.fibres import BARE, DROPPED, WINDOW, lamina_cells, make_sites, section
from connectomics.phantom.sections import MOST_PLANES, cut_planes, seed_depth, write_profile
from connectomics.phantom.tissue import BLOCK_CELLS, KNOT, PITCH, Tissue

OWNER_WINDOW = 2
"""Lattice cells to each side in which a voxel's owner is looked for; no fibre reaches further."""


class Table(NamedTuple):
    """Sections of all laminae near a box, one after the other: index = start + (knot, row, column)."""

    laminae: NDArray[
        np.int64
    ]  # (n, 7): lamina, start, columns' first and count, knots' first and count, rows
    walls: NDArray[np.float64]  # (n, 3): low wall um, cos, sin of the in-plane angle
    seed: NDArray[np.float64]  # (sections, 3): u, v, radius, um
    kept: NDArray[np.uint8]  # (sections,) half-planes kept
    planes: NDArray[np.float64]  # (sections, MOST_PLANES, 3)
    profile: NDArray[np.float64]  # (sections, 5)
    kind: NDArray[np.uint8]  # (sections,)
    fibre: NDArray[np.uint64]  # (sections,)


def holds_fibres(tissue: Tissue, warp: Warp) -> bool:
    """Whether any filled bundle may touch the box inside the knots of `warp`."""
    return any(
        bundle_active(tissue, span.lamina, column)
        for span in _spans(tissue, warp)
        for column in range(*span.columns)
    )


def is_blank(table: Table) -> bool:
    """Whether every point that the table serves lies in a section without a fibre, so that all look alike."""
    if (table.kind >= BARE).any():
        return False
    edge = 2 * OWNER_WINDOW + 1
    for _, start, _, columns, _, _, rows in table.laminae.tolist():
        if rows == BLOCK_CELLS:  # cell bodies fit in
            return False
        kinds = table.kind[start : start + rows * columns].reshape(rows, columns)  # alike at every knot
        owners = np.pad(kinds != DROPPED, ((OWNER_WINDOW, OWNER_WINDOW), (0, 0)))
        if not np.lib.stride_tricks.sliding_window_view(owners, (edge, edge)).any((2, 3)).all():
            return False
    return True


class _Span(NamedTuple):
    lamina: int
    low: float
    rows: int
    columns: tuple[int, int]
    knots: tuple[int, int]
    angle: float


def make_table(tissue: Tissue, warp: Warp) -> Table:
    """Sections of every fibre that a voxel inside the knots of `warp` can touch."""
    spans = _spans(tissue, warp)
    sizes = [s.rows * (s.columns[1] - s.columns[0]) * (s.knots[1] - s.knots[0]) for s in spans]
    starts = [0, *itertools.accumulate(sizes)]
    total = starts[-1]
    laminae = np.zeros((len(spans), 7), np.int64)
    walls = np.zeros((len(spans), 3))
    table = Table(
        laminae,
        walls,
        np.empty((total, 3)),
        np.empty(total, np.uint8),
        np.empty((total, MOST_PLANES, 3)),
        np.empty((total, 5)),
        np.empty(total, np.uint8),
        np.empty(total, np.uint64),
    )
    for n, (span, start) in enumerate(zip(spans, starts, strict=False)):
        columns, knots = span.columns, span.knots
        laminae[n] = (
            span.lamina,
            start,
            columns[0],
            columns[1] - columns[0],
            knots[0],
            knots[1] - knots[0],
            span.rows,
        )
        walls[n] = span.low, np.cos(span.angle), np.sin(span.angle)
        wide = (columns[0] - WINDOW, columns[1] + WINDOW)
        sites = make_sites(tissue, span.lamina, span.low, span.rows, wide)
        _fill(tissue, sites, laminae[n], table)
    return table


def _spans(tissue: Tissue, warp: Warp) -> list[_Span]:
    u, v, w = _straight_knots(tissue, warp)
    spans = []
    first, last = int(np.floor(u.min() / BLOCK)), int(np.floor(u.max() / BLOCK))
    for lamina in range(3 * first, 3 * last + 3):
        low, rows = lamina_cells(tissue, lamina)
        if rows == 0 or low > u.max() or low + rows * PITCH < u.min():
            continue
        angle = float(lamina_angle(tissue, lamina))
        across = np.cos(angle) * v + np.sin(angle) * w
        along = np.cos(angle) * w - np.sin(angle) * v
        reach = RADIUS if rows == BLOCK_CELLS else 0.0
        left = int(np.floor((across.min() - reach) / PITCH)) - OWNER_WINDOW
        right = int(np.floor((across.max() + reach) / PITCH)) + OWNER_WINDOW + 1
        knots = int(np.floor(along.min() / KNOT - 1e-6)), int(np.floor(along.max() / KNOT + 1e-6)) + 1
        spans.append(_Span(lamina, low, rows, (left, right), knots, angle))
    return spans


def _straight_knots(tissue: Tissue, warp: Warp) -> NDArray[np.float64]:
    """Straight coordinates (3, n) of the warp's knots; a box's are inside their bounds."""
    axes = [SPACING * (low + np.arange(n)) for low, n in zip(warp.low, warp.values.shape, strict=False)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1) + warp.values
    return np.asarray(tissue.rotation).reshape(3, 3) @ points.reshape(-1, 3).T


@njit(cache=True, nogil=True)
def _fill(tissue, sites, lamina, table):  # type: ignore[no-untyped-def]
    start, columns, knots, rows = lamina[1], lamina[3], lamina[5], lamina[6]
    current = np.empty((rows, sites.u.shape[1], 3))
    for k in range(knots):
        w = (lamina[4] + k + 0.5) * KNOT
        for a in range(rows):
            for i in range(current.shape[1]):
                section(sites, a, i, w, current[a, i])
        for a in range(rows):
            for b in range(columns):
                i = b + WINDOW
                index = start + (k * rows + a) * columns + b
                table.kind[index] = sites.kind[a, i]
                table.fibre[index] = sites.fibre[a, i]
                table.seed[index] = current[a, i]
                if sites.kind[a, i] == DROPPED:
                    continue
                count = cut_planes(sites, current, a, i, table.planes[index])
                table.kept[index] = count
                depth = seed_depth(table.planes[index], count, current[a, i])
                site = (sites.kind[a, i], sites.hash[a, i])
                write_profile(tissue, site, w, current[a, i], depth, table.profile[index])
