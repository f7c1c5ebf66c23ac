#!/usr/bin/env python3
"""The one global step of `segment` on drawn tables: peak bytes and seconds per million edges and fragments.

    scripts/benchmark_graph.py [--linkages mean median percentile90 components] [--blocks 5 9] [--object 8]

Each measurement runs in a process of its own, once to compile and once to count; peaks are above the start.

- `global`: the tables that the blocks would have left are drawn (400 fragments in each of 128^3, a tenth
  of them shared with a neighbour), and `solve` runs on them; it should hardly take more memory for the
  second size than for the first, but for a larger component. `components` is mean linkage on fragments half
  of which go on in the next block.
- `numbering`: what one process must hold of every fragment, by itself, on `--component` of them.
- `component`: one connected component of `--component` edges is agglomerated, as one worker does it.

`--object` is how many fragments a neurite is cut into; 0 ties everything together: one component.
The limits are in Mvoxel, at 200 fragments per Mvoxel and the edges per fragment found: where the numbering of
the fragments fills the machine, and where a single component of all edges would.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from connectomics.blockwise.grid import Block, Grid
from connectomics.blockwise.output import Run, open_run
from connectomics.blockwise.pool import Threads
from connectomics.blockwise.progress import Silent
from connectomics.blockwise.release import release_memory
from connectomics.io.ome_zarr import create_array
from connectomics.pipeline import graph_stage
from connectomics.pipeline.stage import FRAGMENTS, Stage
from connectomics.segmentation.agglomeration import PERCENTS, merge_rows
from connectomics.segmentation.cleanup import drop_small
from connectomics.segmentation.edge_rows import ROW, EdgeRows
from connectomics.segmentation.edges import BlockEdges
from connectomics.segmentation.histograms import Histograms, concatenate
from connectomics.segmentation.independence import batches, component_edges, components
from connectomics.segmentation.settings import Linkage, SegmentationSettings
from connectomics.segmentation.stitching import number_fragments
from connectomics.segmentation.union_find import union

EDGE, LOCAL = 128, 400
FRAGMENTS_PER_MVOXEL = 200
MACHINES = (24e9, 256e9)
SHARED = {"components": 0.5}


def main() -> None:
    options = parse()
    if options.child:
        kind, case, size = options.child.split(",")
        print(json.dumps(KINDS[kind](case, int(size), options)))
        return
    print(json.dumps([row(case, options) for case in options.linkages], indent=1))


def row(case: str, options: argparse.Namespace) -> dict[str, object]:
    """All figures of one linkage."""
    small, large = (in_child("global", case, blocks, options) for blocks in options.blocks)
    component = in_child("component", case, options.component, options)
    numbering = in_child("numbering", case, options.component, options)
    edges, seconds = (large[name] - small[name] for name in ("edges", "seconds"))
    per_fragment = numbering["peak_bytes"] / numbering["fragments"]
    per_edge = component["peak_bytes"] / component["edges"]
    edges_per_fragment = large["edges"] / large["fragments"]
    per_mvoxel = {
        "numbering": FRAGMENTS_PER_MVOXEL * per_fragment,
        "one_component": FRAGMENTS_PER_MVOXEL * edges_per_fragment * per_edge,
    }
    return {
        "case": case,
        "global": [small, large],
        "component": component,
        "bytes_per_million_fragments": round(1e6 * per_fragment),
        "seconds_per_million_edges": round(1e6 * seconds / edges, 2),
        "component_bytes_per_million_edges": round(1e6 * per_edge),
        "component_seconds_per_million_edges": round(1e6 * component["seconds"] / component["edges"], 2),
        "edges_per_fragment": round(edges_per_fragment, 2),
        "limit_mvoxel": {
            f"{machine / 1e9:.0f} GB, {what}": round(machine / used)
            for machine in MACHINES
            for what, used in per_mvoxel.items()
        },
    }


def in_child(kind: str, case: str, size: int, options: argparse.Namespace) -> dict[str, float]:
    arguments = [sys.executable, __file__, *sys.argv[1:], "--child", f"{kind},{case},{size}"]
    found = json.loads(subprocess.run(arguments, check=True, stdout=subprocess.PIPE).stdout)
    print(json.dumps({"case": case, "kind": kind, **found}), file=sys.stderr)
    return dict(found)


def measure(case: str, blocks: int, options: argparse.Namespace) -> dict[str, object]:
    """The global step on tables of ``blocks``^3 blocks."""
    graph_stage.LARGEST_EDGES = options.largest
    for edge in (2, blocks):
        with (
            tempfile.TemporaryDirectory(dir=options.scratch) as folder,
            open_run(Path(folder) / "out.zarr", "segment", {}, []) as run,
        ):
            stage = drawn_stage(run, case, edge, options)
            before = restart_peak()
            began = time.perf_counter()
            graph_stage.solve(stage)
            seconds = time.perf_counter() - began
            peak = status("VmHWM") - before
            noted = run.ledger.noted("graph")
    return {**noted, "peak_bytes": peak, "seconds": round(seconds, 2)}


def measure_component(case: str, edges: int, options: argparse.Namespace) -> dict[str, object]:
    """One component: a random graph of 7 edges a node, all edges strong or weak as in a chain of objects."""
    linkage = linkage_of(case)
    for number in (1000, edges):
        part = drawn_component(number, linkage in PERCENTS)
        before = restart_peak()
        began = time.perf_counter()
        held = part.nbytes
        parts = [part]
        del part
        merge_rows(parts.pop(), linkage, 127.5)
        seconds = time.perf_counter() - began
        peak = status("VmHWM") - before + held
    return {"edges": number, "peak_bytes": peak, "seconds": round(seconds, 2)}


def measure_numbering(case: str, nodes: int, options: argparse.Namespace) -> dict[str, object]:
    """What grows with the volume: numbering, components and lookup table; a link for every tenth node."""
    for number in (1000, nodes):
        random = np.random.default_rng(0)
        links = np.stack([random.integers(0, number, number // 10) for _ in range(2)], axis=1)
        before = restart_peak()
        began = time.perf_counter()
        keys = random.permutation(number).astype(np.uint64) + np.uint64(1)
        fragments = number_fragments(keys, [links])
        del keys
        sizes = np.bincount(fragments.view(np.int64))
        del fragments
        roots = union(len(sizes), links[:0])
        component = components(lambda: [], len(roots) - 1, None, 0.0)
        batches(component_edges(lambda: [], component), 1)
        del component
        drop_small(graph_stage._numbered(roots), sizes, 0)
        seconds = time.perf_counter() - began
        peak = status("VmHWM") - before
    return {"fragments": number, "peak_bytes": peak, "seconds": round(seconds, 2)}


def drawn_component(edges: int, with_histogram: bool) -> EdgeRows:
    random = np.random.default_rng(edges)
    nodes = edges // 7
    rows = np.zeros(edges, ROW)
    u = random.integers(1, nodes, edges)
    u[: nodes - 1] = np.arange(1, nodes)
    v = u + random.integers(1, 40, edges)
    v[: nodes - 1] = u[: nodes - 1] + 1
    rows["u"], rows["v"] = u, np.minimum(v, nodes)
    pieces = []
    for first in range(0, edges, 1 << 16):
        here = slice(first, first + (1 << 16))
        dense = histograms(random, u[here] // 8 == v[here] // 8)
        rows["count"][here], rows["total"][here] = dense.sum(axis=1), dense @ np.arange(256)
        if with_histogram:
            pieces.append(Histograms.from_dense(dense).lumped(127.5))
    rows["contacts"] = 1
    return EdgeRows(rows, concatenate(pieces) if with_histogram else None).added_up()


KINDS = {"global": measure, "component": measure_component, "numbering": measure_numbering}


def linkage_of(case: str) -> Linkage:
    return "mean" if case == "components" else case


def restart_peak() -> int:
    """Forget the peak so far; bytes resident now."""
    release_memory()
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(name))) * 1024


def drawn_stage(run: Run, case: str, blocks: int, options: argparse.Namespace) -> Stage:
    """A stage whose fragment and edge tables are there."""
    shape = (blocks * EDGE,) * 3
    grid = Grid(shape, (EDGE,) * 3)
    settings = SegmentationSettings(linkage=linkage_of(case), threshold=0.5)
    layout = {"voxel_size": (1.0, 1.0, 1.0), "offset": (0.0, 0.0, 0.0)}
    create_array(run.path, FRAGMENTS, shape=shape, dtype=np.uint32, chunks=(EDGE,) * 3, **layout)
    for block in grid:
        draw_block(run, grid, block, case, options)
    return Stage(run, grid, None, (), settings, Threads(options.workers), Silent())


def draw_block(run: Run, grid: Grid, block: Block, case: str, options: argparse.Namespace) -> None:
    random = np.random.default_rng(block.number)
    inner = random.integers(0, EDGE, (LOCAL, 3)) + np.array(block.corner)
    keys = np.ravel_multi_index(tuple(inner.T), grid.shape).astype(np.uint64) + 1
    _, ny, nx = grid.counts
    base = block.number * LOCAL
    below = [n for n, i in zip((ny * nx, nx, 1), block.index, strict=True) if i > 0]
    shared = random.random(LOCAL) < SHARED.get(case, 0.1) if below else np.zeros(LOCAL, bool)
    mine = np.flatnonzero(shared) + base
    partners = mine - random.choice(below, len(mine)) * LOCAL if below else mine
    run.ledger.save_table(
        "fragments", block.number, keys=keys, sizes=np.full(LOCAL, 5000), votes=np.array(False),
        link_labels=np.zeros(0, np.uint32), link_voxels=np.zeros((0, 3), np.int64),
    )  # fmt: skip
    u = np.repeat(np.arange(LOCAL), options.edges_per_fragment)
    v = (u + random.integers(1, 40, len(u))) % LOCAL
    u, v = u + base, v + base
    if below:  # an edge in eight leads to a neighbour
        across = random.random(len(v)) < 1 / 8
        v[across] -= random.choice(below, int(across.sum())) * LOCAL
    u, v = np.unique(np.sort(np.stack([u, v], axis=1), axis=1), axis=0).T.copy()
    alike = np.ones(len(u), bool) if options.object == 0 else u // options.object == v // options.object
    histogram = histograms(random, alike)
    count = histogram.sum(axis=1, dtype=np.int64)
    total = histogram @ np.arange(256)
    kept = Histograms.from_dense(histogram).lumped(127.5) if linkage_of(case) in PERCENTS else None
    edges = BlockEdges(u, v, count, total, total, count, kept, np.zeros((len(u), 3), np.int64))
    links = np.stack([mine, partners], axis=1)
    run.ledger.save_table("edges", block.number, links=links, **edges.arrays())


def histograms(random: np.random.Generator, alike: np.ndarray) -> np.ndarray:
    """About 60 voxel pairs an edge: mostly strong inside an object, mostly weak between two."""
    count = np.minimum(1000, np.ceil(random.lognormal(3.5, 1.0, len(alike)))).astype(np.int64)
    edge = np.repeat(np.arange(len(alike)), count)
    level = np.where(alike, random.uniform(0.55, 0.98, len(alike)), random.uniform(0.02, 0.45, len(alike)))
    values = np.round(255 * random.beta(6 * level[edge], 6 * (1 - level[edge]))).astype(np.int64)
    return np.bincount(edge * 256 + values, minlength=len(alike) * 256).reshape(-1, 256).astype(np.uint32)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--linkages", nargs="+", default=["mean", "median", "percentile90", "components"])
    parser.add_argument("--blocks", type=int, nargs=2, default=[5, 9], help="along each axis")
    parser.add_argument("--component", type=int, default=2_000_000, help="edges, and fragments to number")
    parser.add_argument("--largest", type=int, default=graph_stage.LARGEST_EDGES, help="edges of a component")
    parser.add_argument("--edges-per-fragment", type=int, default=7)
    parser.add_argument("--object", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scratch", help="folder on the disk to use")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
