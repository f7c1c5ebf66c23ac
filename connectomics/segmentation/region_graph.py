"""The region graph: fragments as nodes, and what the affinities between them say, merged over blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from connectomics.segmentation.edge_rows import EdgeRows, concatenate_rows, rows_of_block
from connectomics.segmentation.edges import BlockEdges
from connectomics.segmentation.grey import penalties
from connectomics.segmentation.histograms import Histograms


@dataclass(frozen=True)
class RegionGraph:
    """Edges between fragments, sorted; integer sums, so that the order of blocks never matters.

    Attributes
    ----------
    edges : (E, 2) uint64
        Fragment ids, u < v, sorted.
    count, total, squares : (E,) int64
        Voxel pairs measured, and the sums of their affinities (0..255 each) and of the squares of these.
    histogram : Histograms or None
        How often each affinity occurs.
    middle : (E, 3) float64 or None
        The middle of each contact, zyx, in voxels from the volume's low corner.
    lost : (E,) int64 or None
        What each loses in agglomeration because its ends are not equally grey, in steps of 8 bits.
    """

    edges: NDArray[np.uint64]
    count: NDArray[np.int64]
    total: NDArray[np.int64]
    squares: NDArray[np.int64]
    histogram: Histograms | None = None
    middle: NDArray[np.float64] | None = None
    lost: NDArray[np.int64] | None = None

    @classmethod
    def from_rows(cls, part: EdgeRows, lost: NDArray[np.int64] | None = None) -> "RegionGraph":
        """The graph of rows that are added up."""
        rows = part.rows
        edges = np.stack([rows["u"], rows["v"]], axis=1).astype(np.uint64)
        count, total, squares = (rows[name].copy() for name in ("count", "total", "squares"))
        middle = None if part.places is None else part.middle()
        return cls(edges, count, total, squares, part.histogram, middle, lost)

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean affinity of each edge, 0..1."""
        return (self.total / (255.0 * np.maximum(1, self.count))).astype(np.float32)

    @property
    def penalty(self) -> NDArray[np.float32]:
        """What each edge loses in agglomeration, 0..1."""
        lost = np.zeros(len(self.edges), np.int64) if self.lost is None else self.lost
        return (lost / 255.0).astype(np.float32)

    def weakened(self) -> "RegionGraph":
        """The graph as it is agglomerated: every affinity less what its edge loses, none below 0."""
        if self.lost is None:
            return self
        total = np.maximum(0, self.total - self.lost * self.count)
        histogram = None if self.histogram is None else self.histogram.weakened(self.lost)
        return replace(self, total=total, histogram=histogram, lost=None)

    @property
    def std(self) -> NDArray[np.float32]:
        """Standard deviation of each edge's affinities, 0..1/2."""
        count = np.maximum(1, self.count)
        mean = self.total / count
        return (np.sqrt(np.maximum(self.squares / count - mean * mean, 0)) / 255.0).astype(np.float32)

    @property
    def size(self) -> NDArray[np.float32]:
        """Voxel pairs of each edge."""
        return self.count.astype(np.float32)


def merge_edges(
    parts: Sequence[BlockEdges],
    node_to_fragment: NDArray[np.uint64],
    grey: NDArray[np.int64] | None = None,
    per_deviation: float = 0.0,
) -> RegionGraph:
    """Add the edges of all blocks up.

    Pairs of nodes that are one fragment drop out, and so do pairs that only long-range offsets join:
    fragments that do not touch are not merged.

    Parameters
    ----------
    parts
        One per block; either all with a histogram or none.
    node_to_fragment
        (nodes,) uint64, see `connectomics.segmentation.stitching.resolve`.
    grey, per_deviation
        How grey the fragments are and what a difference costs, see `connectomics.segmentation.grey`.
    """
    named = [rows_of_block(part, node_to_fragment[part.u], node_to_fragment[part.v]) for part in parts]
    rows = concatenate_rows(named).added_up().touching()
    lost = None if grey is None else penalties(rows.rows["u"], rows.rows["v"], grey, per_deviation)
    return RegionGraph.from_rows(rows, lost)
