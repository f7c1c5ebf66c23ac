#!/usr/bin/env python3
"""The one global step of `segment` on drawn tables: peak bytes and seconds per million edges and fragments.

    scripts/benchmark_graph.py [--linkages mean median percentile90 components] [--blocks 6] [--object 8]

Each case runs in a process of its own: the tables that the blocks would have left are drawn (400 fragments of
128^3 voxels each, a tenth of them shared with a neighbour), then `solve` is timed and its peak memory above
the start is taken. `components` is mean linkage on fragments half of which go on in the next block.
`--object` is how many fragments a neurite is cut into; 0 ties everything together: one component.
The limits are in voxels, at 200 fragments per Mvoxel and `--edges-per-fragment`: all edges in one component,
and none in a large one.
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
from connectomics.io.ome_zarr import create_array
from connectomics.pipeline.graph_stage import solve
from connectomics.pipeline.stage import FRAGMENTS, Stage
from connectomics.segmentation.edges import BlockEdges
from connectomics.segmentation.histograms import Histograms
from connectomics.segmentation.settings import SegmentationSettings

EDGE, LOCAL = 128, 400
FRAGMENTS_PER_MVOXEL = 200
MACHINES = (24e9, 256e9)
SHARED = {"components": 0.5}


def main() -> None:
    options = parse()
    if options.child:
        print(json.dumps(measure(options.child, options)))
        return
    rows = []
    for linkage in options.linkages:
        arguments = [sys.executable, __file__, "--child", linkage, *sys.argv[1:]]
        rows.append(json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout))
        print(json.dumps(rows[-1]), file=sys.stderr)
    print(json.dumps(rows, indent=1))


def measure(case: str, options: argparse.Namespace) -> dict[str, object]:
    """One case in this process: a small run that compiles, then the one that counts."""
    for blocks in (2, options.blocks):
        with (
            tempfile.TemporaryDirectory(dir=options.scratch) as folder,
            open_run(Path(folder) / "out.zarr", "segment", {}, []) as run,
        ):
            stage = drawn_stage(run, case, blocks, options)
            before = restart_peak()
            began = time.perf_counter()
            solve(stage)
            seconds = time.perf_counter() - began
            peak = status("VmHWM") - before
            noted = run.ledger.noted("graph")
    edges, fragments = noted["edges"] / 1e6, noted["fragments"] / 1e6
    return {
        "case": case,
        **noted,
        "peak_bytes": peak,
        "seconds": round(seconds, 2),
        "bytes_per_million_edges": round(peak / edges),
        "bytes_per_million_fragments": round(peak / fragments),
        "seconds_per_million_edges": round(seconds / edges, 2),
        "edges_per_fragment": round(edges / fragments, 2),
        "limit_mvoxel": {
            f"{machine / 1e9:.0f} GB": round(
                machine / (peak / fragments) * 1e6 / 1e6 / FRAGMENTS_PER_MVOXEL * 1e0
            )
            for machine in MACHINES
        },
    }


def restart_peak() -> int:
    """Forget the peak so far; bytes resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(name))) * 1024


def drawn_stage(run: Run, case: str, blocks: int, options: argparse.Namespace) -> Stage:
    """A stage whose fragment and edge tables are there."""
    shape = (blocks * EDGE,) * 3
    grid = Grid(shape, (EDGE,) * 3)
    linkage = "mean" if case == "components" else case
    settings = SegmentationSettings(linkage=linkage, threshold=0.5)
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
    kept = Histograms.from_dense(histogram).lumped(127.5) if case in ("median", "percentile90") else None
    edges = BlockEdges(u, v, count, total, count, kept)
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
    parser.add_argument("--blocks", type=int, default=6, help="along each axis")
    parser.add_argument("--edges-per-fragment", type=int, default=7)
    parser.add_argument("--object", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scratch", help="folder on the disk to use")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
