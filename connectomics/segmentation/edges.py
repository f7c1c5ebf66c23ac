"""The affinities between the fragments of one block, summed as integers so that blocks add up exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.roi import IntTriple
from connectomics.segmentation.block_fragments import Box
from connectomics.segmentation.histograms import BINS, Histograms

NEAREST_CHANNELS = 3
"""The first channels are nearest neighbours: only they make two fragments touch."""

SUMS = ("count", "total", "squares", "contacts")
"""What adds up over the pieces of an edge; see `BlockEdges`."""


@dataclass(frozen=True)
class BlockEdges:
    """What one block knows of the edges between nodes (block-local fragments).

    Attributes
    ----------
    u, v : (E,) int64
        The two nodes, u < v.
    count : (E,) int64
        Voxel pairs measured.
    total : (E,) int64
        Sum of their affinities (0..255 each).
    squares : (E,) int64
        Sum of the squares of their affinities.
    contacts : (E,) int64
        Those pairs that are nearest neighbours.
    histogram : Histograms or None
        How often each affinity occurs; for percentiles.
    places : (E, 3) int64 or None
        Sum of the voxel coordinates (zyx, whole volume) of both voxels of the pairs that are nearest
        neighbours.
    """

    u: NDArray[np.int64]
    v: NDArray[np.int64]
    count: NDArray[np.int64]
    total: NDArray[np.int64]
    squares: NDArray[np.int64]
    contacts: NDArray[np.int64]
    histogram: Histograms | None = None
    places: NDArray[np.int64] | None = None

    def lumped(self, threshold: float) -> Self:
        """The same, with histograms that tell only affinities above `threshold` (0..255) apart."""
        return self if self.histogram is None else replace(self, histogram=self.histogram.lumped(threshold))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name, to be stored and given back to `from_arrays`."""
        parts = {} if self.histogram is None else vars(self.histogram)
        own = {name: value for name, value in vars(self).items() if name != "histogram" and value is not None}
        return own | parts

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The same again from what `arrays` gave."""
        sums = {name: arrays[name] for name in ("u", "v", *SUMS)}
        bins = [arrays[name] for name in ("length", "value", "times") if name in arrays]
        return cls(**sums, histogram=Histograms(*bins) if bins else None, places=arrays.get("places"))


def block_edges(
    nodes: NDArray[np.int64],
    affinities: NDArray[np.uint8],
    offsets: Sequence[IntTriple],
    box: Box,
    *,
    with_histogram: bool = False,
    corner: IntTriple = (0, 0, 0),
) -> BlockEdges:
    """Measure the edges of one block.

    A pair (v, v + offset) belongs to the block that holds v, so over all blocks each pair counts once.

    Parameters
    ----------
    nodes
        (z, y, x) node of every voxel, negative for background; on the low sides it must reach as far beyond
        the block as the offsets do (cut at the volume's faces).
    affinities
        (c, z, y, x) uint8 on the same voxels.
    offsets
        The offset of each channel (voxels zyx, none positive), nearest neighbours first.
    box
        The block, as slices of the arrays.
    with_histogram
        Also count how often each affinity occurs.
    corner
        Voxel of the whole volume at which the arrays start.

    Returns
    -------
    BlockEdges
        In ascending order of (u, v).
    """
    low = np.array([s.start for s in box], np.int64)
    high = np.array([s.stop for s in box], np.int64)
    steps = np.array(offsets, np.int64).reshape(-1, 3)
    pairs, sums, histogram = _measure(nodes, affinities, steps, low, high, with_histogram)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    u, v = pairs[order].T.copy()
    count, total, squares, contacts = sums[order, :4].T.copy()
    places = sums[order, 4:] + 2 * contacts[:, None] * np.array(corner)
    kept = Histograms.from_dense(histogram[order]) if with_histogram else None
    return BlockEdges(u, v, count, total, squares, contacts, kept, places)


@njit(cache=True, nogil=True)
def _measure(nodes, affinities, offsets, low, high, with_histogram):  # type: ignore[no-untyped-def]
    table = np.full(1 << 12, -1, np.int64)  # open addressing: slot -> edge
    pairs = np.empty((1 << 10, 2), np.int64)
    sums = np.zeros((1 << 10, 7), np.int64)
    histogram = np.zeros((pairs.shape[0] if with_histogram else 0, BINS), np.uint32)
    edges = 0
    for channel in range(len(offsets)):
        dz, dy, dx = offsets[channel]
        near = channel < NEAREST_CHANNELS
        for z in range(max(low[0], -dz), high[0]):
            for y in range(max(low[1], -dy), high[1]):
                last_a, last_b, edge = np.int64(-1), np.int64(-1), np.int64(-1)
                for x in range(max(low[2], -dx), high[2]):
                    a, b = nodes[z, y, x], nodes[z + dz, y + dy, x + dx]
                    if a == b or a < 0 or b < 0:
                        continue
                    if a > b:
                        a, b = b, a
                    if a != last_a or b != last_b:  # runs along x are mostly one edge
                        edge = _find(table, pairs, a, b)
                        if edge < 0:
                            if edges == len(pairs):
                                pairs, sums = _grown(pairs), _grown(sums)
                                if with_histogram:
                                    histogram = _grown(histogram)
                            if 2 * edges >= len(table):
                                table = _rehash(pairs, edges, 2 * len(table))
                            edge = edges  # type: ignore[assignment]
                            pairs[edge, 0], pairs[edge, 1] = a, b
                            _insert(table, pairs, edge)
                            edges += 1
                        last_a, last_b = a, b
                    value = affinities[channel, z, y, x]
                    sums[edge, 0] += 1
                    sums[edge, 1] += value
                    sums[edge, 2] += np.int64(value) * value
                    if near:
                        sums[edge, 3] += 1
                        sums[edge, 4] += 2 * z + dz
                        sums[edge, 5] += 2 * y + dy
                        sums[edge, 6] += 2 * x + dx
                    if with_histogram:
                        histogram[edge, value] += 1
    return pairs[:edges], sums[:edges], histogram[:edges]


@njit(cache=True, nogil=True, inline="always")
def _slot(a, b, size):  # type: ignore[no-untyped-def]
    mixed = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) ^ (np.uint64(b) * np.uint64(0xC2B2AE3D27D4EB4F))
    return np.int64((mixed >> np.uint64(20)) & np.uint64(size - 1))


@njit(cache=True, nogil=True)
def _find(table, pairs, a, b):  # type: ignore[no-untyped-def]
    slot = _slot(a, b, len(table))
    while table[slot] >= 0:
        edge = table[slot]
        if pairs[edge, 0] == a and pairs[edge, 1] == b:
            return edge
        slot = (slot + 1) & (len(table) - 1)
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _insert(table, pairs, edge):  # type: ignore[no-untyped-def]
    slot = _slot(pairs[edge, 0], pairs[edge, 1], len(table))
    while table[slot] >= 0:
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = edge


@njit(cache=True, nogil=True)
def _rehash(pairs, edges, size):  # type: ignore[no-untyped-def]
    table = np.full(size, -1, np.int64)
    for edge in range(edges):
        _insert(table, pairs, edge)
    return table


@njit(cache=True, nogil=True)
def _grown(array):  # type: ignore[no-untyped-def]
    larger = np.zeros((2 * array.shape[0], array.shape[1]), array.dtype)
    larger[: array.shape[0]] = array
    return larger
