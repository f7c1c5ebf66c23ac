#!/usr/bin/env python3
"""From affinities on disk to level-0 labels on disk: Mvoxel/s, fragments per Mvoxel, VOI.

    scripts/benchmark_postprocessing.py OUT.zarr/affinities --model fib25-em [--raw IMAGE] [--truth LABELS]

OUT.zarr comes from `connectomics segment ... --keep-affinities`. The affinities are processed twice; the
first run, which compiles and warms the file cache, is not counted. The pyramid is not part of the time.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from connectomics.blockwise.output import open_run
from connectomics.blockwise.pool import Threads
from connectomics.blockwise.progress import Silent
from connectomics.evaluation.compare import evaluate
from connectomics.io.opening import open_volume
from connectomics.networks.models import find_model
from connectomics.pipeline.edge_stage import collect_edges
from connectomics.pipeline.fragment_stage import make_fragments
from connectomics.pipeline.graph_stage import solve
from connectomics.pipeline.label_stage import write_labels
from connectomics.pipeline.region import select_region
from connectomics.pipeline.resources import thread_count
from connectomics.pipeline.segment import looked_at, segmentation_grid, segmentation_settings, used_offsets
from connectomics.pipeline.settings import RegionSettings, RunSettings
from connectomics.pipeline.stage import Stage
from connectomics.segmentation.fragments import required_halo


def main() -> None:
    options = parse()
    affinities = open_volume(options.affinities, options.voxel_size, channels=True)
    model = find_model(options.model)
    settings = segmentation_settings(model, {})
    run_settings = RunSettings(workers=options.workers, block=options.block)
    grid = segmentation_grid(affinities.shape, settings, int(options.memory * 1e9), run_settings)
    offsets = used_offsets(model, settings)
    image = None
    if settings.grey_penalty and options.raw is None:
        raise SystemExit("--raw: this model's segmentation looks at the image; name it.")
    if settings.grey_penalty:
        raw = open_volume(options.raw, options.voxel_size)
        image = looked_at(select_region(raw, RegionSettings()), model, settings)
    for warm in (False, True):
        with (
            tempfile.TemporaryDirectory(dir=options.scratch) as folder,
            open_run(Path(folder) / "out.zarr", "segment", {"benchmark": warm}, []) as run,
        ):
            pool = Threads(thread_count(run_settings))
            stage = Stage(run, grid, affinities, offsets, settings, pool, Silent(), image=image)
            seconds = run_stages(stage)
            if warm:
                print(json.dumps(report(stage, seconds, options), indent=1))


def run_stages(stage: Stage) -> dict[str, float]:
    seconds = {}
    began = time.perf_counter()
    for name, work in (("fragments", make_fragments), ("edges", collect_edges)):
        work(stage)
        seconds[name] = time.perf_counter() - began
        began = time.perf_counter()
    solution = solve(stage)
    seconds["graph"] = time.perf_counter() - began
    began = time.perf_counter()
    write_labels(stage, solution)
    seconds["labels"] = time.perf_counter() - began
    return seconds


def report(stage: Stage, seconds: dict[str, float], options: argparse.Namespace) -> dict[str, object]:
    z, y, x = stage.grid.shape
    mvoxel, total = z * y * x / 1e6, sum(seconds.values())
    result: dict[str, object] = {
        "mvoxel": round(mvoxel, 1),
        "mvoxel_per_second": round(mvoxel / total, 2),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "block": stage.grid.block,
        "halo": required_halo(stage.settings),
        "workers": stage.pool.size,
        "fragments_per_mvoxel": round(stage.run.ledger.noted("graph")["fragments"] / mvoxel, 1),
        **stage.run.ledger.noted("graph"),
    }
    if options.truth:
        found = open_volume(stage.run.path / "labels/segmentation")
        scores = evaluate(found, open_volume(options.truth, options.voxel_size))
        result |= {key: round(scores[key], 4) for key in ("voi_split", "voi_merge", "voi_sum")}
    return result


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("affinities")
    parser.add_argument("--model", required=True)
    parser.add_argument("--raw", help="the image, where the model's segmentation has a grey penalty")
    parser.add_argument("--truth")
    parser.add_argument("--voxel-size", nargs=3, type=float)
    parser.add_argument("--memory", type=float, default=4.0, help="GB")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--block", nargs=3, type=int)
    parser.add_argument("--scratch", help="folder on the disk to measure")
    return parser.parse_args()


if __name__ == "__main__":
    main()
