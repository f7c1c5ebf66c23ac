"""Stage 4, the one global step: number the fragments, build the region graph, agglomerate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.io.tables import read_table, write_table
from connectomics.pipeline.stage import Nodes, Stage
from connectomics.segmentation.agglomeration import agglomerate
from connectomics.segmentation.cleanup import drop_small
from connectomics.segmentation.edges import BlockEdges
from connectomics.segmentation.region_graph import merge_edges
from connectomics.segmentation.stitching import mutual_best, resolve
from connectomics.segmentation.uncertainty import edge_uncertainty


@dataclass(frozen=True)
class Solution:
    """What the block-wise relabelling needs.

    Attributes
    ----------
    nodes : Nodes
        Numbering of the block-local fragments.
    node_to_fragment : ndarray of uint64
        Fragment id of every node.
    lut : ndarray of uint64
        Segment id of every fragment id; ``lut[0] = 0``.
    """

    nodes: Nodes
    node_to_fragment: NDArray[np.uint64]
    lut: NDArray[np.uint64]


def solve(stage: Stage) -> Solution:
    """Write ``region_graph/`` and ``lut``, or read them when an earlier run wrote them."""
    ledger, path = stage.run.ledger, stage.run.path
    nodes = Nodes(stage)
    if ledger.noted("graph") is not None:
        return Solution(nodes, read_table(path, "scratch/node_to_fragment"), read_table(path, "lut"))
    stage.progress.start("graph", 1, 0)
    tables = ledger.load_tables("edges", (block.number for block in stage.grid))
    links = np.concatenate([table.pop("links") for table in tables])
    if nodes.votes:
        links = mutual_best(links, np.repeat(np.arange(len(nodes.counts)), nodes.counts))
    node_to_fragment = resolve(nodes.by_block(), links)
    count = int(node_to_fragment.max(initial=0))
    sizes = np.zeros(count + 1, np.int64)
    np.add.at(sizes, node_to_fragment.astype(np.int64), nodes.sizes)
    graph = merge_edges([BlockEdges(**table) for table in tables], node_to_fragment)
    threshold = stage.settings.threshold
    lut = agglomerate(graph, count, stage.settings.linkage, threshold).lut(threshold)
    lut = drop_small(lut, sizes, stage.settings.min_object)
    for name in ("edges", "mean", "size"):
        write_table(path, f"region_graph/{name}", getattr(graph, name))
    write_table(path, "region_graph/p_wrong", edge_uncertainty(graph.mean, threshold))
    write_table(path, "lut", lut)
    write_table(path, "scratch/node_to_fragment", node_to_fragment)
    summary = {
        "fragments": count,
        "edges": len(graph.edges),
        "segments": int(lut.max(initial=0)),
        "graph_bytes": graph.nbytes,
    }
    ledger.note("graph", summary)
    stage.progress.advance("graph")
    stage.progress.finish("graph")
    return Solution(nodes, node_to_fragment, lut)
