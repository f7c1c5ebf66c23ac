"""The region graph: fragments as nodes, and what the affinities between them say, merged over blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.segmentation.edges import BINS, BlockEdges


@dataclass(frozen=True)
class RegionGraph:
    """Edges between fragments, sorted; integer sums, so that the order of blocks never matters.

    Attributes
    ----------
    edges : (E, 2) uint64
        Fragment ids, u < v, sorted.
    count, total : (E,) int64
        Voxel pairs measured, and the sum of their affinities (0..255 each).
    histogram : (E, 256) uint32 or None
        How often each affinity occurs.
    """

    edges: NDArray[np.uint64]
    count: NDArray[np.int64]
    total: NDArray[np.int64]
    histogram: NDArray[np.uint32] | None = None

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean affinity of each edge, 0..1."""
        return (self.total / (255.0 * np.maximum(1, self.count))).astype(np.float32)

    @property
    def size(self) -> NDArray[np.float32]:
        """Voxel pairs of each edge."""
        return self.count.astype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = (self.edges, self.count, self.total)
        return sum(a.nbytes for a in held) + (0 if self.histogram is None else self.histogram.nbytes)


def merge_edges(parts: Sequence[BlockEdges], node_to_fragment: NDArray[np.uint64]) -> RegionGraph:
    """Add the edges of all blocks up.

    Pairs of nodes that are one fragment drop out, and so do pairs that only long-range offsets join:
    fragments that do not touch are not merged.

    Parameters
    ----------
    parts
        One per block; either all with a histogram or none.
    node_to_fragment
        (nodes,) uint64, see `connectomics.segmentation.stitching.resolve`.
    """
    histograms = bool(parts) and all(part.histogram is not None for part in parts)
    u, v, count, total, contacts = (
        np.concatenate([np.zeros(0, np.int64), *(getattr(part, name) for part in parts)])
        for name in ("u", "v", "count", "total", "contacts")
    )
    a, b = node_to_fragment[u].astype(np.int64), node_to_fragment[v].astype(np.int64)
    first, second = np.minimum(a, b), np.maximum(a, b)
    kept = np.flatnonzero(a != b)
    order = kept[np.lexsort((second[kept], first[kept]))]
    first, second = first[order], second[order]
    new = np.ones(len(order), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    starts = np.flatnonzero(new)
    sums = [_sum(values[order], starts) for values in (count, total, contacts)]
    touching = sums[2] > 0
    histogram = None
    if histograms:
        stacked = np.concatenate([part.histogram for part in parts if part.histogram is not None])
        summed = np.add.reduceat(stacked[order], starts) if len(starts) else np.zeros((0, BINS), np.uint32)
        histogram = summed[touching].astype(np.uint32)
    edges = np.stack([first[starts], second[starts]], axis=1).astype(np.uint64)
    return RegionGraph(edges[touching], sums[0][touching], sums[1][touching], histogram)


def _sum(values: NDArray[np.int64], starts: NDArray[np.intp]) -> NDArray[np.int64]:
    return np.add.reduceat(values, starts) if len(starts) else np.zeros(0, np.int64)
