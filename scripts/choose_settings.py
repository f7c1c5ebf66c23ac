#!/usr/bin/env python3
"""Choose a model's segmentation settings on validation data, and write them into its contract.

    scripts/choose_settings.py data/models/fib25-em --raw ../shared/data/fib25/fib25_train2.h5/raw \
        --truth ../shared/data/fib25/fib25_train2.h5/labels \
        --mask ../shared/data/fib25/fib25_train2.h5/ffn_segmentation \
        --voxel-size 10 10 10 --context 0 140 --scored 120 140

Only voxels of --context (z) are read and only those of --scored count. The network runs once; every
combination of the settings below is tried, all thresholds from one merge tree. The best has the lowest mean
VOI sum of the volumes or, with --skeletons, the highest mean NERL. --network gives each volume a network of
its own, with --scored one range each: those of a cross-validation, where the model has seen all volumes. An
object of the truth that is in several pieces within --context counts as several: nothing there says that
they are one. --write drops what the contract says of the uncertainty of edges: run scripts/calibrate.py
afterwards.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np
from skimage.measure import label

from connectomics.errors import ConnectomicsError, InputError
from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.evaluation.volumes import VoiTable
from connectomics.inference.predictor import predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.io.opening import open_volume
from connectomics.io.skeletons import read_skeletons
from connectomics.networks.contract import write_contract
from connectomics.networks.models import CONTRACT_FILE, find_model
from connectomics.roi import Roi
from connectomics.segmentation.agglomeration import agglomerate
from connectomics.segmentation.calibration import without_edges
from connectomics.segmentation.cleanup import drop_small
from connectomics.segmentation.relabel import relabel
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import fragment_graph

GRID = {
    "boundary_threshold": [0.3, 0.5, 0.7],
    "max_distance": [8],
    "smoothing": [1, 2],
    "jump": [0.5, 1.0],
    "grow": [20],
    "linkage": ["mean", "median", "percentile90", "percentile95"],
    "long_range": [False, True],
    "grey_penalty": [0.0, 0.2],
}
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.05), 2)


def main() -> None:
    options = parse()
    grid = {**GRID, **json.loads(options.grid)}
    traced = options.skeletons or [None] * len(options.raw)
    number = len(options.raw)
    networks = options.network or [options.model] * number
    scored = options.scored or options.context or (None, None)
    if len(scored) % 2:
        raise InputError(
            f"--scored: expected a first and a last slice of each range, got {len(scored)} numbers."
        )
    ranges = list(zip(scored[::2], scored[1::2], strict=False)) * (number if len(scored) == 2 else 1)
    for name, some in (("truth", options.truth), ("network", networks), ("scored", ranges)):
        if len(some) != number:
            raise InputError(f"--{name}: expected one for each of {number} --raw, got {len(some)}.")
    given = zip(options.raw, options.truth, traced, networks, ranges, strict=True)
    cases = [load(options, *one) for one in given]
    rows = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        rows += try_settings(chosen, cases)
    rows.sort(key=lambda row: -row["nerl"] if options.skeletons else row["voi_sum"])
    for row in rows[: options.show]:
        print(json.dumps(row))
    if options.write:
        best = {k: v for k, v in rows[0].items() if k in SegmentationSettings.model_fields}
        model = find_model(options.model)
        kept = ("voi_split", "voi_merge", "voi_sum", "nerl")
        scores = {f"validation_{k}": round(rows[0][k], 4) for k in kept if k in rows[0]}
        contract = model.contract.model_copy(
            update={
                "segmentation": best,
                "scores": {**model.contract.scores, **scores},
                "calibration": without_edges(model.contract.calibration),
            }
        )
        write_contract(model.weights.with_name(CONTRACT_FILE), contract)


def try_settings(chosen: dict, cases: list) -> list[dict]:
    base = SegmentationSettings.parse(chosen)
    found = [fragment_graph(affinities, offsets, base, image) for affinities, offsets, *_, image in cases]
    trees = [agglomerate(g, int(f.max()), base.linkage, float(THRESHOLDS[0])) for f, g in found]
    rows = []
    for threshold in THRESHOLDS:
        vois, nerl = [], []
        for (fragments, _), tree, (_, _, truth, scored, axons, _) in zip(found, trees, cases, strict=True):
            sizes = np.bincount(fragments.ravel().astype(np.int64), minlength=tree.fragments + 1)
            lut = drop_small(tree.lut(float(threshold)), sizes, base.min_object)
            labels = relabel(fragments[scored], lut)
            table = VoiTable()
            table.add(labels, truth)
            vois.append(table.scores())
            if axons is not None:
                voxels, skeletons = axons
                nerl.append(float(skeleton_scores(labels[tuple(voxels.T)], skeletons)["nerl"]))
        rows.append(
            chosen
            | {"threshold": float(threshold)}
            | {
                k: round(float(np.mean([v[k] for v in vois])), 4)
                for k in ("voi_split", "voi_merge", "voi_sum")
            }
            | ({"nerl": round(float(np.mean(nerl)), 4), "nerl_min": round(min(nerl), 4)} if nerl else {})
            | {"n_fragments": sum(int(f.max()) for f, _ in found)}
        )
    return rows


def load(
    options: argparse.Namespace,
    raw_path: str,
    truth_path: str,
    skeletons: str | None,
    network: Path,
    scored: tuple[int | None, int | None],
) -> tuple:
    """Affinities of the context, their offsets, masked truth of what is scored, where, skeletons, image."""
    raw, truth = open_volume(raw_path, options.voxel_size), open_volume(truth_path, options.voxel_size)
    low, high = options.context or (0, raw.shape[0])
    first, last = low if scored[0] is None else scored[0], high if scored[1] is None else scored[1]
    y, x = slice(0, raw.shape[1]), slice(0, raw.shape[2])
    size, offset = raw.voxel_size, raw.offset
    corner = (offset[0] + low * size[0], *offset[1:])
    extent = ((high - low) * size[0], raw.shape[1] * size[1], raw.shape[2] * size[2])
    part = raw.crop(Roi(corner, extent))
    model = find_model(network)
    predictor = predictor_for(model, InferenceSettings(flips=options.flips), part.read_box, part.shape)
    affinities = predictor.predict_box(part.read_box, part.shape, (slice(0, high - low), y, x))
    image = predictor.affine.apply(part.read())
    whole = truth.read_box((slice(low, high), y, x)).astype(np.int64)
    labels = label(whole, background=0, connectivity=1)[first - low : last - low].astype(np.uint64)
    if options.mask:
        mask = open_volume(options.mask, options.voxel_size).read_box((slice(first, last), y, x))
        labels[mask == 0] = 0
    axons = None
    if skeletons:
        traced = read_skeletons(skeletons).crop(truth.roi)
        voxels = np.floor((traced.nodes - np.array(truth.offset)) / np.array(truth.voxel_size)).astype(int)
        axons = voxels, traced
    return affinities, model.contract.offsets, labels, slice(first - low, last - low), axons, image


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--raw", nargs="+", required=True)
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--mask")
    parser.add_argument("--skeletons", nargs="+", help="one a volume; choose by NERL (whole volumes only)")
    parser.add_argument("--voxel-size", nargs=3, type=float)
    parser.add_argument("--context", nargs=2, type=int, help="z voxels that may be read")
    parser.add_argument("--scored", nargs="+", type=int, help="z voxels that are scored, or those of each")
    parser.add_argument("--network", nargs="+", type=Path, help="what predicts each volume, if not the model")
    parser.add_argument("--grid", default="{}", help="JSON that replaces entries of the grid")
    parser.add_argument("--flips", type=int, default=1, help="mirror images averaged by the network")
    parser.add_argument("--show", type=int, default=12)
    parser.add_argument("--write", action="store_true", help="write the best into the contract")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except ConnectomicsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
