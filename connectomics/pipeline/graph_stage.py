"""Stage 4, the one global step: number the fragments, build the region graph, agglomerate, part by part."""

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Block
from connectomics.blockwise.release import release_memory
from connectomics.errors import RunFailed
from connectomics.io.tables import create_table, read_table, write_table
from connectomics.pipeline.edge_files import (
    GRAPH,
    STEP,
    EdgeFiles,
    begin_afresh,
    contract,
    merge_blocks,
    name_edges,
    new_files,
    parts_ledger,
    run_parts,
)
from connectomics.pipeline.edge_judgement import judge_edges
from connectomics.pipeline.numbering import SHARD, number_nodes
from connectomics.pipeline.stage import NODE_TO_FRAGMENT, NODE_TO_SEGMENT, Nodes, Stage
from connectomics.segmentation.agglomeration import PERCENTS, merge_rows
from connectomics.segmentation.cleanup import drop_small
from connectomics.segmentation.independence import batches, choose_level, component_edges, components
from connectomics.segmentation.union_find import flatten, join

BATCH_EDGES = 1 << 18
"""Edges that a worker agglomerates at once, at least."""

LARGEST_EDGES = 1 << 22
"""Edges of a component that one worker may have to hold."""

PIECE = 64 * SHARD
"""Rows of the tables with a row per node that are in memory at once."""


def solve(stage: Stage) -> Nodes:
    """Write ``region_graph/``, ``lut`` and what the workers look up, unless an earlier run did."""
    nodes = Nodes(stage)
    if stage.run.ledger.noted("graph") is not None:
        return nodes
    began = time.perf_counter()
    begin_afresh(stage)
    try:
        summary = _solve(stage, nodes)
    except RunFailed as error:
        stage.run.ledger.mark_failed(STEP, 0, STEP, error)
        raise
    stage.run.ledger.mark_done(STEP, 0, STEP, time.perf_counter() - began)
    stage.run.ledger.note("graph", summary)
    return nodes


def _solve(stage: Stage, nodes: Nodes) -> dict[str, int]:
    sizes, grey = number_nodes(stage, nodes)
    fragments = len(sizes) - 1
    name_edges(stage, nodes)
    files = merge_blocks(stage, fragments, grey)
    del grey
    summary = {"fragments": fragments, "edges": sum(map(len, files))}
    release_memory()
    summary["graph_bytes"] = sum(part.nbytes for part in files)
    roots, largest, levels = agglomerate_parts(stage, files, fragments)
    del files
    segment = _numbered(roots)
    del roots
    judge_edges(stage, sizes, segment, summary["edges"])
    write_table(stage.run.path / GRAPH, "voxels", sizes)
    lut = drop_small(segment, sizes, stage.settings.min_object)
    del segment, sizes
    write_table(stage.run.path, "lut", lut)
    _write_segments(stage, nodes, lut)
    return summary | {
        "segments": int(lut.max(initial=0)),
        "largest_component_edges": largest,
        "levels": levels,
    }


def agglomerate_parts(stage: Stage, files: EdgeFiles, fragments: int) -> tuple[NDArray[np.int64], int, int]:
    """Agglomerate component by component, in the pool; see `connectomics.segmentation.independence`.

    Returns
    -------
    roots
        (fragments + 1,) the smallest fragment of each fragment's segment.
    largest
        Edges of the largest component that was held at once.
    levels
        How often the graph was agglomerated to a level; 1 where all components were small.
    """
    goal, reached, largest, levels = 255.0 * stage.settings.threshold, 255.0, 0, 0
    percent = PERCENTS.get(stage.settings.linkage)
    roots = np.arange(fragments + 1)

    def inside(level: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        component = components(lambda: files, fragments, percent, level)
        return component, component_edges(lambda: files, component)

    while True:
        level = choose_level(lambda at: inside(at)[1].max() <= LARGEST_EDGES, goal, reached)
        component, edges = inside(level)
        largest, levels = max(largest, int(edges.max())), levels + 1
        name = f"agglomeration-{levels}"
        for pairs in _agglomerate_level(stage, files, component, edges, (name, level)):
            join(roots, pairs)
        del component, edges
        flatten(roots)
        if level == goal:
            return roots, largest, levels
        files, reached = contract(stage, files, roots, f"level-{levels}"), level


def _agglomerate_level(
    stage: Stage,
    files: EdgeFiles,
    component: NDArray[np.int64],
    edges: NDArray[np.int64],
    at: tuple[str, float],
) -> Iterator[NDArray[np.int64]]:
    """Pairs of fragments that are one segment at a level (its name, its value), batch by batch."""
    name, level = at
    batch, number = batches(edges, BATCH_EDGES)
    dealt = new_files(stage, name, number)
    for part in files:
        u, v = component[part.rows["u"]], component[part.rows["v"]]
        dealt.deal(part, np.where(u == v, batch[u], -1))
    dealt.files.flush()
    linkage = stage.settings.linkage
    results = parts_ledger(stage)

    def work(block: Block) -> None:
        pairs = merge_rows(dealt.read(block.number), linkage, level)
        results.save_table(name, block.number, pairs=pairs)

    run_parts(stage, name, number, work)
    for part_number in range(number):
        yield results.load_table(name, part_number)["pairs"]


def _numbered(roots: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Segments 1..k in the order of their smallest fragment; fragment 0 is the background."""
    own = np.cumsum(roots == np.arange(len(roots))) - 1
    return own[roots].astype(np.uint64)


def _write_segments(stage: Stage, nodes: Nodes, lut: NDArray[np.uint64]) -> None:
    """Write ``scratch/node_to_segment`` a piece at a time."""
    path = stage.run.path
    table = create_table(path, NODE_TO_SEGMENT, (nodes.total,), np.uint64, SHARD)
    for first in range(0, nodes.total, PIECE):
        last = min(first + PIECE, nodes.total)
        table[first:last] = lut[read_table(path, NODE_TO_FRAGMENT, [(first, last)]).view(np.int64)]
