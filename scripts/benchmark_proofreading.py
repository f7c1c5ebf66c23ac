#!/usr/bin/env python3
"""Run length against decisions of a perfect reviewer, for our ranking, random order and largest first.

    scripts/benchmark_proofreading.py --output runs/proofreading --seeds 2000 2001 2002

Segments phantoms with a shipped model (once; what is there is used again) and lets a reviewer who knows the
truth go through the queue in each order. `half` is how many decisions it takes to half of the possible gain
(what edits of fragments can reach, less what there is), `of_random` that divided by what random order takes
(median of `--draws` draws; a draw that never gets there counts with all its decisions, so the true share is
smaller still). Random order draws from the same candidates as ours, and is spared the same questions: which
links hold a segment together, and that what is two segments at one contact is two at the next.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.progress import Silent
from connectomics.inference.settings import InferenceSettings
from connectomics.io.opening import open_volume
from connectomics.io.skeletons import read_skeletons
from connectomics.phantom.settings import PhantomSettings
from connectomics.pipeline.phantom import write_phantom
from connectomics.pipeline.segment import segment_volume
from connectomics.pipeline.settings import RegionSettings, RunSettings
from connectomics.proofreading.output import open_output
from connectomics.proofreading.simulate import Review, review, true_objects

ORDERS = ("run-length", "uncertainty", "largest")


def main() -> None:
    options = parse()
    cases = [case(seed, options) for seed in options.seeds]
    report = {"difficulty": options.difficulty, "edge": options.edge, "model": options.model, "cases": cases}
    report["of_random"] = {
        order: median(one["orders"][order]["of_random"] for one in cases) for order in ORDERS
    }
    print(json.dumps(report, indent=1))
    (options.output / "proofreading.json").write_text(json.dumps(report, indent=1) + "\n")


def case(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    folder = options.output / f"{options.difficulty}-{seed}"
    segmented(folder, seed, options)
    output = open_output(folder / "seg.zarr")
    truth = open_volume(folder / "phantom.zarr" / "labels" / "truth")
    skeletons = read_skeletons(folder / "phantom.skeletons")
    objects = true_objects(output.fragments, truth, len(output.lut) - 1)
    draws = [review(output, objects, skeletons, "random", draw) for draw in range(options.draws)]
    halves = [draw.decisions_for(0.5) for draw in draws]
    random = median(len(d.nerl) - 1 if half is None else half for d, half in zip(draws, halves, strict=True))
    found = {"random": summary(draws[0], random) | {"half": random, "halves": halves, "of_random": 1.0}}
    for order in ORDERS:
        found[order] = summary(review(output, objects, skeletons, order), random)
    first = draws[0]
    return {
        "seed": seed,
        "fragments": len(output.lut) - 1,
        "segments": int(output.lut.max()),
        "edges": len(output.edges),
        "nerl": round(first.nerl[0], 4),
        "nerl_possible": round(first.best, 4),
        "orders": found,
    }


def summary(done: Review, random: float | None) -> dict[str, Any]:
    half = done.decisions_for(0.5)
    steps = [n for n in (10, 20, 50, 100, 200, 500, 1000, 2000) if n < len(done.nerl)]
    return {
        "half": half,
        "of_random": None if half is None or not random else round(half / random, 3),
        "decisions": len(done.nerl) - 1,
        "edits": done.edits,
        "nerl_after": {str(n): round(done.nerl[n], 4) for n in steps} | {"all": round(done.nerl[-1], 4)},
    }


def median(values: Any) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def segmented(folder: Path, seed: int, options: argparse.Namespace) -> None:
    if Ledger(folder / "seg.zarr" / "ledger" / "segment").noted("complete") is not None:
        return
    run = RunSettings(workers=options.workers)
    shape = (options.edge,) * 3
    settings = PhantomSettings(seed=seed, difficulty=options.difficulty)
    write_phantom(folder / "phantom.zarr", shape, settings, ["xray", "labels/truth"], run, Silent())
    segment_volume(
        str(folder / "phantom.zarr" / "xray"),
        folder / "seg.zarr",
        options.model,
        region=RegionSettings(),
        inference=InferenceSettings(threads=options.workers),
        segmentation={},
        keep_affinities=True,
        rescale=False,
        run_settings=run,
        progress=Silent(),
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2000, 2001, 2002])
    parser.add_argument("--difficulty", default="hard")
    parser.add_argument("--edge", type=int, default=192, help="voxels")
    parser.add_argument("--model", default="phantom-xnh")
    parser.add_argument("--draws", type=int, default=5, help="of random order")
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
