#!/usr/bin/env python3
"""What skeletons are worth on real tissue: FIB-25 from painted voxels or skeletons, one network and budget.

    scripts/benchmark_fib25_skeletons.py RUNS [--table FILE.json] [--rows dense tubes ...]

Each row trains data/recipes/fib25-skeletons.toml on z < 120 (`dense` with the painted voxels in place of the
skeletons), chooses threshold and linkage on 120 <= z < 140, and reports the VOI of z >= 150, masked to FFN's
foreground. A row that is in the table (data/fib25-skeletons.json) is not run again; a training that was
stopped goes on where it was. Without RUNS it prints the table.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from benchmark_supervision import METHODS
from benchmark_table import add_row, has_row, read_rows

from connectomics.evaluation.volumes import VoiTable
from connectomics.inference.predictor import predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.networks.models import find_model
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import at_thresholds
from connectomics.settings import read_toml
from connectomics.training.settings import TrainSettings
from connectomics.training.train import train

DATA = Path(__file__).parents[1] / "data"
RECIPE = DATA / "recipes/fib25-skeletons.toml"
CONTEXT, CHOSEN_ON, REPORTED_ON = slice(0, 140), slice(120, 140), slice(150, 250)
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.05), 2)
LINKAGES = ("mean", "percentile90")
ROWS = ["dense", "tubes", "pseudo", "pseudo, certain"]


def main() -> None:
    options = parse()
    for row in options.rows:
        if options.runs is not None and not has_row(options.table, row=row):
            add_row(options.table, measure(row, options.runs), lambda one: ROWS.index(one["row"]))
    show(options.table)


def measure(row: str, runs: Path) -> dict:
    recipe, began = settings(row), time.monotonic()
    model = find_model(train(recipe, runs / row.replace(" ", "-")))
    minutes = (time.monotonic() - began) / 60  # of the last sitting
    with h5py.File(Path(recipe.data.root) / "fib25_train2.h5") as file:
        raw, truth, mask = (file[name][:] for name in ("raw", "labels", "ffn_segmentation"))
    truth = np.where(mask > 0, truth, 0)  # 0 is not scored
    predictor = predictor_for(model, InferenceSettings(), raw.__getitem__, raw.shape)
    whole = tuple(slice(0, n) for n in raw.shape)
    affinities = predictor.predict_box(raw.__getitem__, raw.shape, whole)
    offsets = model.contract.offsets
    tried = [
        (found["voi_sum"], linkage, threshold)
        for linkage in LINKAGES
        for threshold, found in scores(
            affinities[:, CONTEXT], offsets, linkage, THRESHOLDS, truth[CONTEXT], CHOSEN_ON
        )
    ]
    chosen, linkage, threshold = min(tried)
    _, found = next(scores(affinities, offsets, linkage, [threshold], truth, REPORTED_ON))
    figures = {name: round(float(found[name]), 4) for name in ("voi_split", "voi_merge", "voi_sum")}
    return {
        "row": row,
        **figures,
        "chosen_on": round(float(chosen), 4),
        "linkage": linkage,
        "threshold": float(threshold),
        "steps": recipe.steps,
        "minutes": round(minutes, 1),
    }


def settings(row: str) -> TrainSettings:
    values = read_toml(RECIPE)
    values["data"]["root"] = str((DATA.parent / values["data"]["root"]).resolve())
    if row == "dense":
        (volume,) = values["data"]["volumes"]
        del volume["skeletons"]
        volume |= {"labels": "fib25_train2.h5/labels", "background": "unlabelled"}
    else:
        for section, change in METHODS[row].items():
            values[section] = values.get(section, {}) | change
    return TrainSettings.parse(values)


def scores(affinities, offsets, linkage: str, thresholds, truth, z: slice) -> Iterator[tuple[float, dict]]:
    """VOI of the sections `z`, where the truth is not 0, at each threshold."""
    base = SegmentationSettings.parse({"linkage": linkage})
    for threshold, labels in at_thresholds(affinities, offsets, base, thresholds):
        table = VoiTable()
        table.add(labels[z], truth[z])
        yield threshold, table.scores()


def show(table: Path) -> None:
    found = {one["row"]: one for one in read_rows(table)}
    print("| truth | VOI sum (split + merge) | on 120 <= z < 140, chosen there |\n|---|---|---|")
    for row in ROWS:
        one = found.get(row)
        told = f"{one['voi_sum']:.3f} ({one['voi_split']:.3f} + {one['voi_merge']:.3f})" if one else "missing"
        print(f"| {row} | {told} | {one['chosen_on'] if one else ''} |")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="?", help="folder for the training runs")
    parser.add_argument("--table", type=Path, default=DATA / "fib25-skeletons.json")
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
