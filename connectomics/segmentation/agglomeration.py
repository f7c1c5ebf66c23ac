"""Hierarchical agglomeration of a region graph, strongest edge first, with exact and repeatable order."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.segmentation.edge_rows import EdgeRows
from connectomics.segmentation.histograms import BINS, Histograms
from connectomics.segmentation.merging import merge_greedily
from connectomics.segmentation.region_graph import RegionGraph
from connectomics.segmentation.settings import Linkage
from connectomics.segmentation.union_find import union

PERCENTS: dict[Linkage, int] = {"median": 50, "percentile90": 90, "percentile95": 95}
"""The linkages that need histograms, and the percentile each takes."""


@dataclass(frozen=True)
class MergeTree:
    """The merges of an agglomeration, in order.

    Attributes
    ----------
    pairs : (m, 2) int64
        Fragments (any member of the two segments) that were merged.
    affinity : (m,) float64
        The affinity between the two segments at that moment, 0..1.
    fragments : int
        Number of fragments.
    """

    pairs: NDArray[np.int64]
    affinity: NDArray[np.float64]
    fragments: int

    def lut(self, threshold: float) -> NDArray[np.uint64]:
        """Segment of every fragment when merging stops at `threshold` (0..1).

        Merging always takes the strongest edge, so a higher threshold stops the same sequence earlier: at
        the first merge that is not above it.

        Returns
        -------
        ndarray of uint64, (fragments + 1,)
            ``lut[0] = 0``; segments are numbered 1..k in the order of their smallest fragment.
        """
        weak = np.flatnonzero(self.affinity <= threshold)
        stop = weak[0] if len(weak) else len(self.affinity)
        roots = union(self.fragments + 1, self.pairs[:stop])
        return np.unique(roots, return_inverse=True)[1].astype(np.uint64)


def agglomerate(graph: RegionGraph, fragments: int, linkage: Linkage, threshold: float) -> MergeTree:
    """Merge fragments while the strongest edge is above `threshold`.

    Parameters
    ----------
    graph
        Edges with their sums; for a percentile with histograms.
    fragments
        Number of fragments; ids are 1..fragments.
    linkage
        The affinity between two segments: mean or a percentile over all voxel pairs between them.
    threshold
        0..1; merges above a higher threshold are a prefix of these, see `MergeTree.lut`.

    Returns
    -------
    MergeTree

    Raises
    ------
    InputError
        A percentile is asked for and the graph has no histograms.
    """
    percent = PERCENTS.get(linkage)
    if percent is not None and graph.histogram is None:
        raise InputError(f"agglomeration: the {linkage} needs edges measured with histograms.")
    level, graph = 255.0 * threshold, graph.weakened()
    edges = graph.edges.astype(_index_type(len(graph.edges), fragments))
    bins = _bins(graph.histogram if percent else None, level)
    sums = graph.count.copy(), graph.total.copy()
    pairs, affinity = merge_greedily(edges, *sums, bins, percent or 0, fragments + 1, level)
    return MergeTree(pairs, affinity / 255.0, fragments)


def merge_rows(part: EdgeRows, linkage: Linkage, level: float) -> NDArray[np.int64]:
    """Agglomerate some of the edges of a region graph; see `connectomics.segmentation.independence`.

    Parameters
    ----------
    part
        Edges; among equals, those with the lower ``first`` count as the first.
    linkage
        The affinity between two segments.
    level
        0..255; merging goes on while the strongest edge is above it.

    Returns
    -------
    ndarray of int64, (m, 2)
        Fragments that are one segment.
    """
    percent = PERCENTS.get(linkage)
    part = part.taken(np.argsort(part.rows["first"], kind="stable"))
    names = np.unique(np.concatenate((part.rows["u"], part.rows["v"])))
    edges = np.empty((len(part), 2), _index_type(len(part), len(names)))
    for side, name in enumerate("uv"):
        edges[:, side] = np.searchsorted(names, part.rows[name])
    count, total = part.rows["count"].copy(), part.rows["total"].copy()
    bins = _bins(part.histogram if percent else None, level)
    del part  # what the merging needs is copied; a component may be as large as memory allows
    return np.asarray(names[merge_greedily(edges, count, total, bins, percent or 0, len(names), level)[0]])


def _index_type(edges: int, fragments: int) -> type[np.signedinteger[Any]]:
    return np.int32 if max(2 * edges, fragments + 1) < np.iinfo(np.int32).max else np.int64


def _bins(histogram: Histograms | None, level: float) -> tuple[NDArray[Any], ...]:
    """Start, length, values and times of each edge's histogram, and how many entries are in use."""
    if histogram is None:
        nothing = np.zeros(0, np.int64)
        return nothing, np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.uint32), nothing
    kept = histogram.lumped(level)
    used = len(kept.value)
    room = used // 4 + 2 * BINS
    value, times = np.empty(used + room, np.uint8), np.empty(used + room, np.uint32)
    value[:used], times[:used] = kept.value, kept.times
    return kept.start[:-1].copy(), kept.length, value, times, np.array([used])
