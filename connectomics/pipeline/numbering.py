"""Stage 4a: the local fragments of all blocks become fragments of the whole, numbered through."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from connectomics.io.tables import write_table
from connectomics.pipeline.stage import NODE_TO_FRAGMENT, Nodes, Stage
from connectomics.segmentation.stitching import mutual_best, number_fragments

SHARD = 1 << 16
"""Rows of a chunk of the tables with a row per node: what a worker reads at least."""


def number_nodes(stage: Stage, nodes: Nodes) -> NDArray[np.int64]:
    """Write ``scratch/node_to_fragment``; voxels of every fragment id (0 first)."""
    ledger = stage.run.ledger
    keys, votes = np.zeros(nodes.total, np.uint64), False
    blocks = range(len(stage.grid))
    for number, table in enumerate(ledger.load_tables("fragments", blocks, "keys", "votes")):
        keys[slice(*nodes.of_block(number))] = table["keys"]
        votes |= bool(table["votes"])
    fragments = number_fragments(keys, _elected(stage, nodes) if votes else _links(stage))
    del keys
    write_table(stage.run.path, NODE_TO_FRAGMENT, fragments, SHARD)
    sizes = np.zeros(int(fragments.max(initial=0)) + 1, np.int64)
    for number, table in enumerate(ledger.load_tables("fragments", blocks, "sizes")):
        own = fragments[slice(*nodes.of_block(number))].view(np.int64)
        np.add.at(sizes, own, table["sizes"])
    return sizes


def _links(stage: Stage) -> Iterator[NDArray[np.int64]]:
    for table in stage.run.ledger.load_tables("edges", range(len(stage.grid)), "links"):
        yield table["links"]


def _elected(stage: Stage, nodes: Nodes) -> Iterator[NDArray[np.int64]]:
    """Links that both sides want most, one pair of blocks at a time, as soon as both have voted."""
    waiting: dict[int, dict[int, list[NDArray[np.int64]]]] = defaultdict(lambda: defaultdict(list))
    for number, votes in enumerate(_links(stage)):
        partners = nodes.blocks_of(votes[:, 1])
        for partner in np.unique(partners):
            early, late = sorted((number, int(partner)))
            waiting[late][early].append(votes[partners == partner])
        for pieces in waiting.pop(number, {}).values():
            names, local = np.unique(np.concatenate(pieces), return_inverse=True)
            yield names[mutual_best(local.reshape(-1, 2), nodes.blocks_of(names))]
