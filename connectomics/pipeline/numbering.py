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


def number_nodes(stage: Stage, nodes: Nodes) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Write ``scratch/node_to_fragment``.

    Returns
    -------
    sizes
        (fragments + 1,) voxels of every fragment id, 0 first.
    grey
        (fragments + 1, 2) how grey each is, see `connectomics.segmentation.grey`; None without an image.
    """
    ledger = stage.run.ledger
    keys, votes = np.zeros(nodes.total, np.uint64), False
    blocks = range(len(stage.grid))
    for number, table in enumerate(ledger.load_tables("fragments", blocks, "keys", "votes")):
        keys[slice(*nodes.of_block(number))] = table["keys"]
        votes |= bool(table["votes"])
    fragments = number_fragments(keys, _elected(stage, nodes) if votes else _links(stage))
    del keys
    write_table(stage.run.path, NODE_TO_FRAGMENT, fragments, SHARD)
    known = int(fragments.max(initial=0)) + 1
    sizes = np.zeros(known, np.int64)
    grey = None if stage.image is None else np.zeros((known, 2), np.int64)
    wanted = ("sizes",) if grey is None else ("sizes", "grey")
    for number, table in enumerate(ledger.load_tables("fragments", blocks, *wanted)):
        own = fragments[slice(*nodes.of_block(number))].view(np.int64)
        np.add.at(sizes, own, table["sizes"])
        if grey is not None:
            np.add.at(grey, own, table["grey"])
    return sizes, grey


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
