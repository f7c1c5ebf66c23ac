#!/usr/bin/env python3
"""How far the uncertainty of `segment` can be believed: held-out phantoms and held-out FIB-25.

    scripts/benchmark_uncertainty.py --output runs/uncertainty --fib25 ../shared/data/fib25/fib25_train2.h5

Runs `segment` with the shipped models (phantoms of seeds 2000-2002, medium and hard; FIB-25 at z >= 150), and
compares each edge of the region graph with the truth: wrong is an edge whose fragments are one segment in the
end but two objects, or the other way round. Edges of fragments that are of no one object (see
`connectomics.segmentation.fit_calibration.fragment_objects`) or in objects that were dropped are left out,
and counted. `undecided` are the edges in the range of mean affinity in which, on the calibration volumes,
the affinity alone left more than 5% doubt (stated in the contract); `all` is every edge with a truth. What a
wrong edge loses is the voxels of its smaller fragment. `uncalibrated` judges the same edges by the affinity
and the threshold alone. For voxels: the calibration error of `uncertainty`, against the truth that training
has; each of its 256 values is a bin.
"""

import argparse
import json
from pathlib import Path

import h5py
import numpy as np
import torch

from connectomics.blockwise.progress import Silent
from connectomics.evaluation.reliability import draw_reliability, reliability
from connectomics.inference.settings import InferenceSettings
from connectomics.io.opening import open_volume
from connectomics.io.tables import read_table
from connectomics.networks.models import find_model
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.pipeline.segment import segment_volume
from connectomics.pipeline.settings import RegionSettings, RunSettings
from connectomics.segmentation.calibration import UNDECIDED_KEY
from connectomics.segmentation.fit_calibration import fragment_objects
from connectomics.segmentation.uncertainty import edge_uncertainty, voxel_uncertainty
from connectomics.training.targets import erode_borders

Z_REPORTED = 150
EROSION = 1
"""Voxels that the recipes of the shipped models draw borders back by."""


def main() -> None:
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    groups: dict[str, list] = {}
    for difficulty in options.difficulties:
        for seed in options.seeds:
            groups.setdefault(f"phantom {difficulty}", []).append(phantom_case(seed, difficulty, options))
    if options.fib25:
        groups["FIB-25, z >= 150"] = [fib_case(options)]
    report, drawn = {}, {}
    for name, cases in groups.items():
        report[name] = summary(cases)
        kept = np.concatenate([case["undecided"] for case in cases])
        stated, wrong = (np.concatenate([case[k] for case in cases])[kept] for k in ("stated", "wrong"))
        if len(wrong):
            drawn[name] = stated, wrong
    print(json.dumps(report, indent=1))
    (options.output / "uncertainty.json").write_text(json.dumps(report, indent=1) + "\n")
    draw_reliability(drawn).savefig(options.output / "reliability.png", dpi=110)


def summary(cases: list[dict]) -> dict:
    joined = {key: np.concatenate([case[key] for case in cases]) for key in EDGE_ARRAYS}
    mvoxel = sum(case["mvoxel"] for case in cases)
    result = {
        "mvoxel": round(mvoxel, 2),
        "undecided_range": cases[0]["range"],
        "edges": sum(case["edges"] for case in cases),
        "edges_without_truth": sum(case["edges"] for case in cases) - len(joined["wrong"]),
        "undecided_per_mvoxel": round(joined["undecided"].sum() / mvoxel, 1),
    }
    every = np.ones(len(joined["wrong"]), bool)
    for name, kept in (("undecided", joined["undecided"]), ("all", every)):
        for how, stated in (("", "stated"), (", uncalibrated", "plain")):
            found = reliability(joined[stated][kept], joined["wrong"][kept], joined["voxels"][kept])
            result[name + how] = {key: round(value, 4) for key, value in found.items()}
    names = ("calibrated", "uncalibrated")
    result["voxel_calibration_error"] = {
        name: round(float(np.mean([case["voxel_errors"][name] for case in cases])), 4) for name in names
    }
    return result


EDGE_ARRAYS = ("stated", "plain", "wrong", "voxels", "undecided")


def phantom_case(seed: int, difficulty: str, options: argparse.Namespace) -> dict:
    model = find_model(options.phantom_model)
    settings = PhantomSettings.parse(
        {"seed": seed, "difficulty": difficulty, "voxel_size": model.contract.voxel_size[0]}
    )
    phantom, box = Phantom(settings), (slice(0, options.size),) * 3
    path = options.output / f"phantom-{difficulty}-{seed}-{options.size}.h5"
    if not path.exists():
        with h5py.File(path.with_suffix(".partial"), "w") as file:
            file.create_dataset("raw", data=phantom.xray(box)).attrs["resolution"] = model.contract.voxel_size
            file.create_dataset("labels", data=phantom.labels(box))
        path.with_suffix(".partial").replace(path)
    out = segmented(f"{path}/raw", path.with_suffix(".zarr"), model, options, RegionSettings())
    with h5py.File(path) as file:
        ids, labels = np.unique(file["labels"][()], return_inverse=True)
    return judged(out, model, (labels + (ids[0] != 0)).reshape(box_shape(box)).astype(np.int32))


def fib_case(options: argparse.Namespace) -> dict:
    model = find_model(options.fib25_model)
    size = model.contract.voxel_size
    region = RegionSettings(voxel_size=size, roi_offset=(Z_REPORTED * size[0], 0, 0))
    out = segmented(f"{options.fib25}/raw", options.output / "fib25.zarr", model, options, region)
    with h5py.File(options.fib25) as file:
        labels = file["labels"][Z_REPORTED:].astype(np.int32)
    labels[labels == 0] = -1  # unlabelled, as in the recipe
    return judged(out, model, labels)


def box_shape(box) -> tuple[int, ...]:
    return tuple(s.stop - s.start for s in box)


def segmented(location: str, out: Path, model, options: argparse.Namespace, region: RegionSettings) -> Path:
    segment_volume(
        location,
        out,
        str(model.weights.parent),
        region=region,
        inference=InferenceSettings(memory=options.memory),
        segmentation={},
        keep_affinities=True,
        rescale=False,
        run_settings=RunSettings(workers=options.workers, overwrite=options.overwrite),
        progress=Silent(),
    )
    return out


def judged(out: Path, model, labels: np.ndarray) -> dict:
    """All edges of a segmentation that have a truth, and what was stated of them."""
    fragments = open_volume(f"{out}/labels/fragments").read()
    edges, mean, p_wrong, lut = (
        read_table(out, name)
        for name in ("region_graph/edges", "region_graph/mean", "region_graph/p_wrong", "lut")
    )
    sizes = np.bincount(fragments.ravel().astype(np.int64))
    ends = edges.astype(np.int64)
    u, v = fragment_objects(fragments, labels)[ends].T
    left, right = lut[ends].T
    known = (u > 0) & (v > 0) & (left > 0) & (right > 0)
    low, high = model.contract.calibration[UNDECIDED_KEY]
    return {
        "range": [low, high],
        "mvoxel": labels.size / 1e6,
        "edges": len(edges),
        "stated": p_wrong[known],
        "plain": edge_uncertainty(mean, model.contract.segmentation["threshold"])[known],
        "wrong": ((left == right) != (u == v))[known],
        "voxels": sizes[ends].min(axis=1)[known].astype(np.float64),
        "undecided": ((mean >= low) & (mean <= high))[known],
        "voxel_errors": voxel_errors(out, model, labels),
    }


def voxel_errors(out: Path, model, labels: np.ndarray) -> dict[str, float]:
    """Calibration error of the map: stated against the share of the three affinities that is wrong."""
    affinities = open_volume(f"{out}/affinities", channels=True).read()[:3]
    asked = erode_borders(torch.from_numpy(labels), EROSION).numpy()
    wrong, known = np.zeros(asked.shape), np.ones(asked.shape, bool)
    for channel, offset in enumerate(model.contract.offsets[:3]):
        axis = int(np.flatnonzero(offset)[0])
        here = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        there = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        a, b = asked[here], asked[there]
        wrong[here] += ((affinities[channel][here] > 127) != ((a == b) & (a > 0))) / 3
        known[here] &= (a >= 0) & (b >= 0)
        known[tuple(slice(0, 1) if a == axis else slice(None) for a in range(3))] = False
    maps = {
        "calibrated": open_volume(f"{out}/uncertainty").read(),
        "uncalibrated": voxel_uncertainty(affinities),
    }
    errors = {}
    for name, stated in maps.items():
        number = np.bincount(stated[known], minlength=256)
        found = np.bincount(stated[known], wrong[known], minlength=256) / np.maximum(1, number)
        errors[name] = float(np.average(np.abs(np.arange(256) / 255 - found), weights=number))
    return errors


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs; they are resumed")
    parser.add_argument("--size", type=int, default=256, help="edge of the phantoms, voxels")
    parser.add_argument("--seeds", type=int, nargs="*", default=[2000, 2001, 2002])
    parser.add_argument("--difficulties", nargs="*", default=["medium", "hard"])
    parser.add_argument("--phantom-model", default="phantom-xnh")
    parser.add_argument("--fib25", help="fib25_train2.h5")
    parser.add_argument("--fib25-model", default="fib25-em")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--workers", type=int)
    parser.add_argument(
        "--overwrite", action="store_true", help="runs of another model or version are replaced"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
