#!/usr/bin/env python3
"""What supervision adds to a training step: CPU seconds a step by each method, beside painted voxels alone.

    scripts/benchmark_supervision_cost.py FOLDER [--crops 64 80] [--steps 30] [--rows tubes maximin ...]

The run is data/recipes/supervision.toml on a hard phantom of 128^3 voxels, kept in FOLDER. A step is the
median over the steps after the fifth, in CPU time of the process: neighbours on the machine do not count.
What is done between steps is measured once and spread over the steps: rounds of pseudo labels, scaled to
the 256^3 voxels of the table of supervision, and looks for errors. The share is (with - without) / with,
where without is the same step on painted voxels.
"""

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark_supervision import METHODS, TRAIN_EDGE, settings
from lightning.pytorch import Callback

from connectomics.training.mining import Mining
from connectomics.training.module import AffinityTraining
from connectomics.training.phantoms import load_phantoms
from connectomics.training.rounds import Rounds
from connectomics.training.settings import TrainSettings
from connectomics.training.train import fit

EDGE, WARM_UP = 128, 5
WITHOUT = "dense"
ROWS = [WITHOUT, *METHODS]


class Clock(Callback):
    """CPU seconds of each step, and of what the callbacks after this one do between two steps."""

    def __init__(self) -> None:
        self.steps, self.between, self._mark = [], [], 0.0

    def on_train_batch_start(self, *_) -> None:
        now = time.process_time()
        if self.steps:
            self.between.append(now - self._mark)
        self._mark = now

    def on_train_batch_end(self, *_) -> None:
        now = time.process_time()
        self.steps.append(now - self._mark)
        self._mark = now


def main() -> None:
    options = parse()
    print("| crop | supervision | CPU s / step | between steps, spread | share of a step |")
    print("|---|---|---|---|---|")
    for crop in options.crops:
        without = 0.0
        for row in dict.fromkeys([WITHOUT, *options.rows]):
            step, spread = measure(row, crop, options)
            without = step if row == WITHOUT else without
            share = max(0.0, step + spread - without) / (step + spread)
            print(f"| {crop}^3 | {row} | {step:.3f} | {spread:.3f} | {share:.0%} |", flush=True)


def measure(row: str, crop: int, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds of a step, and seconds between steps spread over the steps."""
    recipe = settings(row, 0)
    run = shortened(recipe, crop, options.steps)
    sources = load_phantoms(run.data, run.data.phantoms, options.folder, run.truth)
    clock, module = Clock(), AffinityTraining(run, sources)
    with TemporaryDirectory(dir=options.folder) as folder:
        extra = {"pseudo": [Rounds(Path(folder))]}.get(run.truth.method, [])
        extra += [Mining(Path(folder))] if run.mining.share else []
        fit(module, Path(folder), [clock, *extra])
    work = sum(clock.between) - len(clock.between) * statistics.median(clock.between)
    often = (TRAIN_EDGE / EDGE) ** 3 * recipe.truth.rounds / recipe.steps if extra else 0.0
    often = 1 / recipe.mining.every if run.mining.share else often
    return statistics.median(clock.steps[WARM_UP:]), work * often


def shortened(recipe: TrainSettings, crop: int, steps: int) -> TrainSettings:
    values = recipe.model_dump(mode="json")
    values |= {"crop": [crop] * 3, "steps": steps, "device": "cpu"}
    values["data"]["phantoms"][0]["shape"] = [EDGE] * 3
    values["truth"]["rounds"] = 1
    values["mining"]["every"] = steps // 2 + 1
    return TrainSettings.parse(values)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the phantom is kept there")
    parser.add_argument("--crops", type=int, nargs="+", default=[64, 80])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
