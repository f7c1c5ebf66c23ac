#!/usr/bin/env python3
"""What skeletons are worth: one network and budget, with painted voxels, skeletons or both, by each method.

    scripts/benchmark_supervision.py RUNS [--table FILE.json] [--rows dense tubes ...] [--seeds 0 1 2]

Each row trains data/recipes/supervision.toml on a hard phantom (its seed is the row's), chooses the
agglomeration threshold on the phantom of seed 1000 by NERL, and reports NERL, VOI and spill (what share of
the axons' segments lies outside of all axons: neither NERL nor VOI sees it), means over three phantoms with
seeds 2000-2002. A row that is in the table (data/supervision.json) is not run again, so the
script may be stopped and started at any time, and several may run at once on other rows. Without RUNS
it prints the table.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from benchmark_table import add_row, has_row, read_rows
from skimage.metrics import contingency_table
from skimage.segmentation import relabel_sequential

from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.evaluation.volumes import VoiTable
from connectomics.inference.predictor import predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.networks.models import find_model
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.roi import Roi
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import at_thresholds
from connectomics.settings import read_toml
from connectomics.training.settings import TrainSettings
from connectomics.training.train import train

RECIPE = Path(__file__).parents[1] / "data/recipes/supervision.toml"
TRAIN_EDGE, TEST_EDGE = 256, 160
PAINTED = {"dense": 1.0, "painted 2%": 0.02}
METHODS = {
    "tubes": {"truth": {"method": "tubes"}},
    "tubes + clDice": {"truth": {"method": "tubes"}, "loss": {"cldice": 0.2}},
    "tubes + maximin": {"truth": {"method": "tubes"}, "loss": {"maximin": 0.2}},
    "tubes + mining": {"truth": {"method": "tubes"}, "mining": {"share": 0.5}},
    "maximin": {"truth": {"method": "points"}, "loss": {"maximin": 1.0}},
    "pseudo": {"truth": {"method": "pseudo", "certainty": 0.0}},
    "pseudo, certain": {"truth": {"method": "pseudo"}},
}
OFTEN = {
    "maximin, half of the crops painted": {
        **METHODS["maximin"],
        "truth": METHODS["maximin"]["truth"] | {"painted_share": 0.5},
    }
}
"""Elsewhere a tenth: the painted cube is small, and is learnt by heart."""

ROWS = [*PAINTED, *METHODS, *(f"painted 2% + {method}" for method in METHODS | OFTEN)]
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.05), 2)
SEGMENTATION = {"linkage": "mean"}
FIGURES = ("nerl", "voi_sum", "spill")


def main() -> None:
    options = parse()
    for seed in options.seeds:
        for row in options.rows:
            if options.runs is not None and not has_row(options.table, row=row, seed=seed):
                add_row(options.table, measure(row, seed, options.runs), order)
    show(options.table)


def measure(row: str, seed: int, runs: Path) -> dict:
    folder = runs / f"{row.replace(' ', '-').replace('%', '')}-{seed}"
    began = time.monotonic()
    model = find_model(train(settings(row, seed), folder))
    minutes = (time.monotonic() - began) / 60
    _, chosen = max((found["nerl"], threshold) for threshold, found in scores(model, 1000, THRESHOLDS))
    tests = [found for test in (2000, 2001, 2002) for _, found in scores(model, test, [chosen])]
    means = {name: round(float(np.mean([test[name] for test in tests])), 4) for name in FIGURES}
    return {"row": row, "seed": seed, **means, "threshold": float(chosen), "minutes": round(minutes, 1)}


def settings(row: str, seed: int) -> TrainSettings:
    values = read_toml(RECIPE)
    painted = next((name for name in PAINTED if row.startswith(name)), "")
    method = row.removeprefix(painted).removeprefix(" + ")
    changes = (METHODS | OFTEN).get(method, {})
    phantom = {
        "first_seed": seed,
        "count": 1,
        "shape": [TRAIN_EDGE] * 3,
        "difficulties": ["hard"],
        "painted": PAINTED.get(painted, 0.0),
        "skeletons": bool(method),
    }
    values["data"]["phantoms"] = [phantom]
    for section, change in changes.items():
        values[section] = values.get(section, {}) | change
    values["validation"]["segmentation"] = SEGMENTATION
    return TrainSettings.parse(values | {"seed": seed})


def scores(model, seed: int, thresholds):
    """Threshold and figures on a phantom that no training saw."""
    phantom = Phantom(PhantomSettings(seed=seed, difficulty="hard"))
    size, shape = phantom.settings.voxel_size, (TEST_EDGE,) * 3
    box = (slice(0, TEST_EDGE),) * 3
    read = phantom.xray(box).__getitem__
    truth = phantom.labels(box)
    skeletons = phantom.skeletons(Roi((0, 0, 0), (TEST_EDGE * size,) * 3))
    nodes = tuple(np.floor(skeletons.nodes / size).astype(int).T)
    predictor = predictor_for(model, InferenceSettings(), read, shape)
    affinities = predictor.predict_box(read, shape, box)
    base = SegmentationSettings.parse(SEGMENTATION)
    for threshold, labels in at_thresholds(affinities, model.contract.offsets, base, thresholds):
        table = VoiTable()
        table.add(labels, truth)
        nerl = float(skeleton_scores(labels[nodes], skeletons)["nerl"])
        yield threshold, {"nerl": nerl, "voi_sum": table.scores()["voi_sum"], "spill": spill(labels, truth)}


def spill(labels, truth) -> float:
    """Of the segments that hold most of an axon, what lies outside of all axons."""
    overlap = contingency_table(*(relabel_sequential(ids)[0] for ids in (truth, labels))).toarray()
    of_axons = np.unique(overlap[1:, 1:].argmax(axis=1)) + 1
    return float(overlap[0, of_axons].sum() / overlap[:, of_axons].sum())


def order(row: dict) -> tuple:
    return ROWS.index(row["row"]), row["seed"]


def show(table: Path) -> None:
    rows = read_rows(table)
    print("| truth | seeds | NERL (lowest - highest) | VOI sum | spill |\n|---|---|---|---|---|")
    for row in ROWS:
        found = [one for one in rows if one["row"] == row]
        cells = [str(len(found))] + [
            f"{np.mean(v):.3f} ({min(v):.3f} - {max(v):.3f})" if v else "missing"
            for v in ([one[key] for one in found if key in one] for key in FIGURES)
        ]
        print(f"| {row} | {' | '.join(cells)} |")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="?", help="folder for the training runs")
    parser.add_argument("--table", type=Path, default=RECIPE.parents[1] / "supervision.json")
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args()


if __name__ == "__main__":
    main()
