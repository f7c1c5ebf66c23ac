"""Stage 4b: the edges of all blocks become those of the region graph, part by part, in files."""

from collections.abc import Iterator
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Block, Grid
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.run import BlockFunction, run_blocks
from connectomics.errors import NoSpaceError, RunFailed
from connectomics.io.place import Place, remove
from connectomics.io.row_files import DEALT, RowFiles
from connectomics.io.tables import create_table
from connectomics.pipeline.stage import NODE_TO_FRAGMENT, Nodes, Stage
from connectomics.segmentation.agglomeration import PERCENTS
from connectomics.segmentation.edge_rows import ROW, EdgeRows, rows_of_block
from connectomics.segmentation.edges import BlockEdges
from connectomics.segmentation.grey import penalties
from connectomics.segmentation.region_graph import RegionGraph

GRAPH = "region_graph"

PENALTY = "penalty"
"""Table of what each edge loses in agglomeration by its grey values; only where the settings ask for it."""

FOLDER = "scratch/graph"

STEP = "global step"
"""Its name in the ledger, where it is one block."""

FRAGMENTS_PER_PART = 1 << 15
"""A part holds the edges whose smaller fragment is one of so many: about a quarter of a million."""

CHUNK = 1 << 17
"""Rows of a chunk of the region graph's tables: a chunk that is not full is read again to be added to."""


class EdgeFiles:
    """Edges in numbered files: dealt into them first, then each part written anew, beside what it is made of.

    Parameters
    ----------
    folder
        Where; made when something is added.
    number
        How many parts there are.
    with_histogram
        Whether the edges have histograms.
    with_places
        Whether it is known where their contacts are.
    """

    def __init__(self, folder: Place, number: int, with_histogram: bool, with_places: bool = False) -> None:
        columns = {"length": "i4", "value": "u1", "times": "u4"} if with_histogram else {}
        if with_places:
            columns["places"] = "i8"
        self.files = RowFiles(folder, {"rows": ROW} | columns)
        self.number = number
        self.version = DEALT

    def __iter__(self) -> Iterator[EdgeRows]:
        return (self.read(part) for part in range(self.number))

    def read(self, part: int) -> EdgeRows:
        """The edges of one part."""
        return EdgeRows.from_arrays(self.files.read(part, self.version))

    def deal(self, edges: EdgeRows, part: NDArray[np.int64]) -> None:
        """Add each edge to a part; none where that is negative."""
        order = np.argsort(part, kind="stable")
        numbers, starts = np.unique(part[order], return_index=True)
        for number, piece in zip(numbers, np.split(order, starts[1:]), strict=len(numbers) > 0):
            if number >= 0:
                self.files.append(int(number), edges.taken(piece).arrays())


def name_edges(stage: Stage, nodes: Nodes) -> None:
    """Keep, per block, its edges between fragments of the whole volume."""
    ledger = stage.run.ledger

    def work(block: Block) -> None:
        edges = BlockEdges.from_arrays(ledger.load_table("edges", block.number))
        ends = nodes.look_up(NODE_TO_FRAGMENT, np.concatenate((edges.u, edges.v)))
        named = rows_of_block(edges, *np.split(ends, 2))
        ledger.save_table("naming", block.number, **named.arrays())

    stage.run_blocks("naming", work)


def merge_blocks(stage: Stage, fragments: int, grey: NDArray[np.int64] | None) -> EdgeFiles:
    """Add the edges of all blocks up, weaken those between unlike greys, and write ``region_graph/``."""
    files = _parts(stage, "whole", fragments, with_places=True)
    for table in stage.run.ledger.load_tables("naming", range(len(stage.grid))):
        edges = EdgeRows.from_arrays(table)
        files.deal(edges, edges.rows["u"] // FRAGMENTS_PER_PART)
    _merge(stage, files, "merging")
    _write_graph(stage, files, grey)
    return files


def contract(stage: Stage, files: EdgeFiles, roots: NDArray[np.int64], name: str) -> EdgeFiles:
    """The edges between the segments that fragments have become part of (see `union_find.union`)."""
    smaller = _parts(stage, name, len(roots) - 1)
    for part in files:
        edges = part.renamed(roots[part.rows["u"]], roots[part.rows["v"]])
        smaller.deal(edges, edges.rows["u"] // FRAGMENTS_PER_PART)
    _merge(stage, smaller, f"merging-{name}")
    return smaller


def begin_afresh(stage: Stage) -> None:
    """Choose a new folder: a worker that still does something for an earlier attempt writes elsewhere."""
    remove(stage.run.path / FOLDER)
    stage.run.ledger.note("graph-attempt", uuid4().hex)


def _folder(stage: Stage) -> Place:
    return stage.run.path / FOLDER / str(stage.run.ledger.noted("graph-attempt"))


def parts_ledger(stage: Stage) -> Ledger:
    """Where the work on parts of the graph is recorded; it goes with the scratch."""
    return Ledger(_folder(stage) / "ledger", lost=stage.run.ledger.lost)


def run_parts(stage: Stage, step: str, number: int, work: BlockFunction) -> None:
    """Run `work` on blocks 0..number - 1 that stand for parts of the graph."""
    grid, ledger = Grid((number, 1, 1), (1, 1, 1)), parts_ledger(stage)
    try:
        run_blocks(step, grid, work, ledger, pool=stage.pool, progress=stage.progress)
    except NoSpaceError:
        raise
    except RunFailed as error:
        parts = [f"part {failure.block}: {failure.error}" for failure in ledger.failures(step)]
        if not parts:
            raise
        raise RunFailed(
            f"{STEP}, {step}: {len(parts)} of {number} parts of the region graph failed: "
            f"{'; '.join(parts[:5])}. Run the same command again to repeat this step alone."
        ) from error


def new_files(stage: Stage, name: str, number: int, with_places: bool = False) -> EdgeFiles:
    """Empty files in the scratch folder of the graph."""
    return EdgeFiles(_folder(stage) / name, number, stage.settings.linkage in PERCENTS, with_places)


def _parts(stage: Stage, name: str, fragments: int, with_places: bool = False) -> EdgeFiles:
    return new_files(stage, name, fragments // FRAGMENTS_PER_PART + 1, with_places)


def _merge(stage: Stage, files: EdgeFiles, step: str) -> None:
    files.files.flush()

    def work(block: Block) -> None:
        merged = files.read(block.number).added_up().touching()
        files.files.write(block.number, "merged", merged.arrays())

    run_parts(stage, step, files.number, work)
    files.version = "merged"
    files.files.drop(DEALT)


def _write_graph(stage: Stage, files: EdgeFiles, grey: NDArray[np.int64] | None) -> None:
    """Write the tables of the region graph, and number the edges through; places are not kept with them."""
    total = sum(len(part) for part in files)
    folder = stage.run.path / GRAPH
    tables = {"edges": create_table(folder, "edges", (total, 2), np.uint64, CHUNK)}
    for name in ("mean", "std", "size", *(() if grey is None else (PENALTY,))):
        tables[name] = create_table(folder, name, (total,), np.float32, CHUNK)
    position = create_table(folder, "position", (total, 3), np.float32, CHUNK)
    numbered = RowFiles(files.files.folder, {n: d for n, d in files.files.columns.items() if n != "places"})
    voxel_size, offset = stage.local_labels().voxel_size, stage.local_labels().offset
    start = 0
    for number, part in enumerate(files):
        here = slice(start, start + len(part))
        lost = _lost(stage, part, grey)
        if len(part):
            graph = RegionGraph.from_rows(part, lost)
            for name in tables:
                tables[name][here] = getattr(graph, name)
            position[here] = (part.middle() * voxel_size + offset).astype(np.float32)
        part.rows["first"] = np.arange(here.start, here.stop)
        kept = part if lost is None else part.weakened(lost, int(255.0 * stage.settings.threshold))
        numbered.write(number, "numbered", kept.arrays())
        start = here.stop
    files.files.drop(files.version)
    files.files, files.version = numbered, "numbered"


def _lost(stage: Stage, part: EdgeRows, grey: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """What the edges of a part lose by the grey values of their ends."""
    if grey is None:
        return None
    return penalties(part.rows["u"], part.rows["v"], grey, stage.settings.grey_penalty)
