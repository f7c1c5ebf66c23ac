#!/usr/bin/env python3
"""How well `connectomics adapt` chooses a source, chooses what to annotate, and plans: one resumable driver.

    scripts/benchmark_adaptation.py RUNS [--table data/adaptation.json] [--minutes 30] [--adapt-minutes 8]
    scripts/benchmark_adaptation.py RUNS --toy            # seconds a run, to see that everything works

Seven families of phantoms stand for species and microscopes that differ in calibre, packing, g-ratio,
contrast, noise, artefacts, voxel anisotropy and modality; --fib25 adds real EM. All are compared voxel by
voxel.

- source rows: a network trained on each family for 1,500 steps of one 64^3 crop (--minutes at most).
- transfer rows: each source on each other family: MMD (deepest activations; common image statistics) and VOI.
- curve rows: n = 1, 2, 4, 8, 16 annotated cubes of a target; starting from scratch, from the worst, a random
  and the chosen source (--chosen-by); cubes by each strategy; --adapt-minutes a run. The truth stands in for
  an annotator.

VOI is the mean of the target's four test volumes, with the threshold that is best on its two validation
volumes (for every row alike). A row that is in the table is not run again, so the script may be stopped and
started at any time. At the end: Spearman's correlation between MMD and VOI with a bootstrap interval, the
regret of the chosen source, VOI by n, how `plan` foresees n = 8 and 16 from n <= 4, and the rows that are
missing.
"""

import argparse
import itertools
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from adaptation_rows import DISTANCES, EXPECTED, STARTS, draw_curves, summary, with_expected
from benchmark_table import add_row, read_rows

from connectomics.adaptation.features import normalisation_of, target_crops, target_features
from connectomics.adaptation.mmd import compare_samples, within_source
from connectomics.adaptation.rank import relative_distance
from connectomics.adaptation.settings import AdaptSettings, SelectSettings
from connectomics.blockwise.progress import Silent
from connectomics.evaluation.volumes import VoiTable
from connectomics.inference.predictor import predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import open_array
from connectomics.io.opening import open_volume
from connectomics.networks.feature_file import read_features
from connectomics.networks.models import find_model
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.phantom.variation import Variation
from connectomics.pipeline import adapt
from connectomics.pipeline.settings import RegionSettings
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import at_thresholds
from connectomics.training.annotations import TODO, read_todo
from connectomics.training.settings import TrainSettings
from connectomics.training.train import train

ROOT = Path(__file__).parents[1]
SIZE = (33.0, 33.0, 33.0)
"""What every volume says its voxels are: families differ in how large things are in voxels."""

OFFSETS = [[-d * (axis == k) for k in range(3)] for d in (1, 3, 9) for axis in range(3)]
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.1), 2)
STRATEGIES = ("random", "median-uncertainty", "entropy", "core-set", "run-length")


@dataclass(frozen=True)
class Family:
    """A species under a microscope.

    Attributes
    ----------
    modality, difficulty : str
        As of phantoms.
    calibre : float
        nm that a voxel really spans: the larger, the thinner the axons in voxels.
    flat : int
        Voxels averaged along z: anisotropy.
    variation : Variation
        Changes of tissue and look.
    """

    modality: str
    difficulty: str = "medium"
    calibre: float = 33.0
    flat: int = 1
    variation: Variation = field(default_factory=Variation)


FAMILIES = {
    "xray": Family("xray"),
    "xray-thin": Family("xray", calibre=46.0),
    "xray-noisy": Family(
        "xray", "hard", variation=Variation(look={"noise": 1.5, "streaks": 1.5, "rings": 2})
    ),
    "xray-faint": Family("xray", variation=Variation({"g_shift": 0.1}, {"contrast": 0.6, "fringe": 2.0})),
    "xray-loose": Family("xray", "easy", variation=Variation({"gap": 0.14, "unmyelinated": 0.8})),
    "em": Family("em"),
    "em-flat": Family("em", "hard", calibre=25.0, flat=3, variation=Variation(em_noise=1.5)),
}
FIB25 = "fib25"
SPLITS = {"train": 0, "pool": 500, "validation": 1000, "test": 2000}


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    edges: dict
    volumes: dict
    filters: tuple
    crop: int
    cube: int
    counts: tuple
    candidates: int
    steps: int


FULL = Scale({"train": 128, "pool": 256, "validation": 128, "test": 160},
             {"train": 6, "validation": 2, "test": 4},
             (32, 64, 128), 64, 64, (1, 2, 4, 8, 16), 48, 1500)  # fmt: skip
TOY = Scale({"train": 40, "pool": 48, "validation": 32, "test": 32}, {"train": 1, "validation": 1, "test": 1},
            (4, 8, 8), 16, 16, (1, 2), 4, 8)  # fmt: skip


class Bench:
    """Families, runs and the table."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.runs, self.table = options, options.runs, options.table
        self.scale = TOY if options.toy else FULL
        self.inference = InferenceSettings(memory=2_000_000_000)

    # --- volumes -------------------------------------------------------------------------------------------

    def volume(self, family: str, split: str, number: int = 0) -> str:
        """An HDF5 file of a family, made when first asked for; returns what comes before /raw and /labels."""
        if family == FIB25:
            return self._fib25(split)
        path = self.runs / "volumes" / f"{family}-{split}-{number}.h5"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            raw, labels = draw(FAMILIES[family], SPLITS[split] + number, self.scale.edges[split])
            write(path, raw, labels)
        return str(path)

    def _fib25(self, split: str) -> str:
        path, (low, high) = self.runs / "volumes" / f"{FIB25}-{split}.h5", FIB25_SECTIONS[split]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(self.options.fib25) as file:
                write(path, file["raw"][low:high], file["labels"][low:high])
        return str(path)

    # --- rows ----------------------------------------------------------------------------------------------

    def source(self, family: str, seed: int) -> dict:
        """Train a source; its model remembers the features of its crops."""
        numbers = [0] if family == FIB25 else [10 * seed + k for k in range(self.scale.volumes["train"])]
        volumes = [self.volume(family, "train", number) for number in numbers]
        values = self.recipe(seed, volumes, family, self.options.minutes)
        model = find_model(train(TrainSettings.parse(values), self.runs / f"source-{family}-{seed}"))
        return {"voi": self.score(model, family)}

    def recipe(self, seed: int, volumes: list, family: str, minutes: float) -> dict:
        scale = self.scale
        return {
            "seed": seed, "steps": scale.steps, "max_minutes": minutes, "crop": [scale.crop] * 3, "batch": 1,
            "device": self.options.device, "checkpoint_every": 50 if self.options.toy else 250,
            "precision": "float32" if self.options.toy else "bf16",
            "data": {
                "voxel_size": SIZE, "modality": "em" if family == FIB25 else FAMILIES[family].modality,
                "volumes": [
                    {"raw": f"{v}/raw", "labels": f"{v}/labels", "background": background_of(family)}
                    for v in volumes
                ],
            },
            "network": {
                "name": "FoldedUNet",
                "parameters": {"filters": list(scale.filters), "res_block": True, "fold": 2},
            },
            "targets": {"offsets": OFFSETS, "lsd": False, "erosion": 1},
            "optimiser": {"ema": 0.9 if self.options.toy else 0.999},
            "validation": {"every": 10**6, "segmentation": {"linkage": "mean"}},
            "export": {"name": f"{family}-{seed}", "margin": [8, 8, 8] if self.options.toy else [16, 16, 16]},
        }  # fmt: skip

    def model(self, family: str, seed: int):
        return find_model(self.runs / f"source-{family}-{seed}" / "model")

    def transfer(self, source: str, target: str, seed: int) -> dict:
        """MMD and VOI of a source on another family."""
        model = self.model(source, seed)
        volume = open_volume(f"{self.volume(target, 'pool')}/raw", SIZE)
        stored, record = read_features(model), model.contract.features
        row = {}
        crops = target_crops(volume, normalisation_of(model, volume), record.crop, 128, seed)
        for kind in ("deepest", "common"):
            found = target_features(model, record, crops, kind, "cpu")
            compared, kernel = compare_samples(getattr(stored, kind), found, 199, 200, seed)
            within = float(np.mean(within_source(kernel, stored.group)))
            row |= {f"mmd2_{kind}": compared.mmd2, f"p_{kind}": compared.p_value}
            row[f"relative_{kind}"] = relative_distance(compared.mmd2, within)
        return row | {"voi": self.score(model, target)}

    def start(self, target: str, start: str, seed: int) -> str:
        """Which source a start means, from the transfer rows."""
        rows = [
            r for r in self.rows() if r["kind"] == "transfer" and (r["target"], r["seed"]) == (target, seed)
        ]
        rows.sort(key=lambda row: row["source"])
        if start == "random":
            return rows[int(np.random.default_rng(seed).integers(len(rows)))]["source"]
        if start == "worst":
            return max(rows, key=lambda row: row["voi"])["source"]
        by = self.options.chosen_by
        expected = with_expected(self.rows(), rows) if by == EXPECTED else rows
        return min(expected, key=lambda row: row[by])["source"]

    def curve(self, target: str, start: str, strategy: str, cubes: int, seed: int, minutes: float) -> dict:
        """VOI after learning n annotated cubes of a target, so many minutes at most."""
        family = self.start(target, "chosen" if start == "scratch" else start, seed)
        folder = self.annotated(target, family, strategy, seed)
        run = self.runs / f"curve-{target}-{start}-{strategy}-{cubes}-{seed}-{minutes:g}"
        if start == "scratch":
            taken = read_todo(folder).crops[:cubes]
            values = self.recipe(seed, [], target, minutes)
            values["data"]["volumes"] = [
                {
                    "raw": str(folder / c.raw),
                    "labels": str(folder / c.annotation),
                    "background": background_of(target),
                }
                for c in taken
            ]
            model = find_model(train(TrainSettings.parse(values), run))
        else:
            settings = AdaptSettings(
                crops=cubes, minutes=minutes, steps=self.scale.steps, seed=seed,
                training_crop=(self.scale.crop,) * 3, hold_out=0, statistics=2 if self.options.toy else 32,
            )  # fmt: skip
            name, device = str(self.model(family, seed).weights.parent), self.options.device
            report = adapt.finetune(
                name, folder, run, settings, validation=None, label_free=False, device=device
            )
            model = find_model(report["model"])
        by = {"chosen_by": self.options.chosen_by} if start == "chosen" else {}
        return {"source": None if start == "scratch" else family, **by, "voi": self.score(model, target)}

    def annotated(self, target: str, family: str, strategy: str, seed: int) -> Path:
        """Crops of the target's pool, chosen and annotated with the truth."""
        folder, pool = self.runs / f"todo-{target}-{family}-{strategy}-{seed}", self.volume(target, "pool")
        if folder.exists():
            return folder
        scale, building = self.scale, folder.with_name(f"{folder.name}.building-{os.getpid()}")
        chosen = SelectSettings(
            strategy=strategy, crop=(scale.cube,) * 3, candidates=scale.candidates, seed=seed,
            background=background_of(target),
        )  # fmt: skip
        adapt.select(
            f"{pool}/raw", str(self.model(family, seed).weights.parent), self.counts(target)[-1], building,
            chosen, region=RegionSettings(voxel_size=SIZE), inference=self.inference, rescale=False,
            exclude=[], progress=Silent(),
        )  # fmt: skip
        truth = open_volume(f"{pool}/labels", SIZE)
        for crop in read_todo(building).crops:
            low = [round(o / v) for o, v in zip(crop.offset, SIZE, strict=True)]
            box = tuple(slice(a, a + n) for a, n in zip(low, crop.shape, strict=True))
            labels = np.unique(truth.read_box(box), return_inverse=True)
            painted = labels[1].reshape(crop.shape) + int(labels[0][0] != 0)
            open_array(building, crop.annotation).write_box((slice(None),) * 3, painted.astype(np.uint32))
        listed = json.loads((building / TODO).read_text())
        for crop in listed["crops"]:
            crop["done"] = True
        (building / TODO).write_text(json.dumps(listed))
        building.rename(folder)
        return folder

    def score(self, model, family: str) -> float:
        """VOI sum, mean of the test volumes, at the threshold that is best on the validation volumes."""
        validation = self._vois(model, family, "validation", THRESHOLDS)
        threshold = THRESHOLDS[int(np.argmin(validation))]
        return round(float(self._vois(model, family, "test", [threshold])[0]), 4)

    def _vois(self, model, family: str, split: str, thresholds) -> np.ndarray:
        """VOI sum by threshold, mean of the volumes of a split."""
        numbers = range(1 if family == FIB25 else self.scale.volumes[split])
        return np.mean([self._voi(model, self.volume(family, split, k), thresholds) for k in numbers], axis=0)

    def _voi(self, model, path: str, thresholds) -> list:
        raw, truth = open_volume(f"{path}/raw", SIZE).read(), open_volume(f"{path}/labels", SIZE).read()
        predictor = predictor_for(model, self.inference, raw.__getitem__, raw.shape)
        affinities = predictor.predict_box(raw.__getitem__, raw.shape, tuple(slice(0, n) for n in raw.shape))
        settings = SegmentationSettings(linkage="mean")
        found = []
        for _, labels in at_thresholds(affinities, model.contract.offsets, settings, thresholds):
            table = VoiTable()
            table.add(labels, truth.astype(np.uint64))
            found.append(table.scores()["voi_sum"])
        return found

    # --- the table -----------------------------------------------------------------------------------------

    def rows(self) -> list:
        return read_rows(self.table)

    def wanted(self) -> list:
        """Every row, in the order in which one needs the other."""
        o = self.options
        keys = [{"kind": "source", "family": f, "seed": s} for s in o.seeds for f in o.families]
        pairs = list(itertools.permutations(o.families, 2))
        keys += [{"kind": "transfer", "source": a, "target": b, "seed": s} for s in o.seeds for a, b in pairs]
        asked = o.counts or self.scale.counts
        for s, target, n, start in itertools.product(o.seeds, o.targets, asked, o.starts):
            if n not in self.counts(target):
                continue
            for strategy in ("random",) if start == "scratch" else o.strategies:
                keys.append(
                    {
                        "kind": "curve",
                        "target": target,
                        "start": start,
                        "strategy": strategy,
                        "n": n,
                        "seed": s,
                        "learning_minutes": o.adapt_minutes,
                    }
                )
        return keys

    def counts(self, target: str) -> list:
        """Numbers of cubes that a target has room for."""
        return [n for n in self.scale.counts if target != FIB25 or n <= FIB25_CUBES]

    def missing(self) -> list:
        done = [{k: row.get(k) for k in KEYS[row["kind"]]} for row in self.rows()]
        return [key for key in self.wanted() if key not in done]

    def say_missing(self) -> None:
        missing = self.missing()
        print(f"\n{len(missing)} of {len(self.wanted())} rows are missing" + (", first:" if missing else "."))
        for key in missing[:5]:
            print("  " + json.dumps(key))

    def run(self) -> None:
        until = time.monotonic() + 60 * self.options.stop_after
        for key in self.missing():
            if time.monotonic() > until:
                break
            began = time.monotonic()
            arguments = [value for name, value in key.items() if name != "kind"]
            found = getattr(self, key["kind"])(*arguments)
            add_row(self.table, key | found | {"minutes": round((time.monotonic() - began) / 60, 2)})


KEYS = {
    "source": ("kind", "family", "seed"),
    "transfer": ("kind", "source", "target", "seed"),
    "curve": ("kind", "target", "start", "strategy", "n", "seed", "learning_minutes"),
}
FIB25_CUBES = 8
"""So many cubes of 64^3 fit side by side into its 120 x 250 x 250 voxels, and one more."""
FIB25_SECTIONS = {"train": (0, 120), "pool": (0, 120), "validation": (120, 140), "test": (150, 250)}
"""Never z = 140..149; z >= 150 is reported alone."""


def background_of(family: str) -> str:
    """What label 0 means."""
    return "unlabelled" if family == FIB25 else "true"


def draw(family: Family, seed: int, edge: int):
    """Image and labels of a family, (edge, edge, edge)."""
    settings = PhantomSettings(seed=seed, voxel_size=family.calibre, difficulty=family.difficulty)
    phantom = Phantom(settings, family.variation)
    box = (slice(0, edge * family.flat), slice(0, edge), slice(0, edge))
    raw, labels = getattr(phantom, family.modality)(box), phantom.labels(box)
    if family.flat > 1:
        raw = raw.reshape(edge, family.flat, edge, edge).mean(1).round().astype(np.uint8)
        labels = labels[family.flat // 2 :: family.flat]
    return raw, np.unique(labels, return_inverse=True)[1].reshape(raw.shape).astype(np.uint32)


def write(path: Path, raw, labels) -> None:
    partial = path.with_suffix(f".{os.getpid()}")
    with h5py.File(partial, "w") as file:
        for name, array in (("raw", raw), ("labels", labels)):
            file.create_dataset(name, data=array, compression="gzip").attrs["resolution"] = SIZE
    partial.replace(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder for volumes and training runs")
    parser.add_argument("--table", type=Path, help="JSON of the rows (default: data/adaptation.json)")
    parser.add_argument("--minutes", type=float, default=30, help="of training a source")
    parser.add_argument("--adapt-minutes", type=float, default=8, help="of learning annotated cubes")
    parser.add_argument("--stop-after", type=float, default=1e9, help="minutes after which no row is begun")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=[*FAMILIES, FIB25])
    parser.add_argument("--targets", nargs="+", help="of the curves (default: all families)")
    parser.add_argument("--counts", type=int, nargs="+", help="annotated cubes of the curves (default: all)")
    parser.add_argument("--starts", nargs="+", default=STARTS, choices=STARTS, help="of the curves")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, choices=STRATEGIES)
    parser.add_argument(
        "--chosen-by", default=EXPECTED, choices=(*DISTANCES, EXPECTED), help="what chooses a source"
    )
    parser.add_argument("--fib25", type=Path, help="fib25_train2.h5: adds real EM as a family")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--picture", type=Path, help="draw the curves to this file")
    parser.add_argument("--show", action="store_true", help="only print what there is")
    parser.add_argument("--toy", action="store_true", help="tiny volumes and networks")
    options = parser.parse_args()
    if options.fib25 and FIB25 not in options.families:
        options.families = [*options.families, FIB25]
    if FIB25 in options.families and not options.fib25:
        parser.error("--families fib25: give the file with --fib25")
    options.runs = options.runs.resolve()
    options.table = options.table or (options.runs if options.toy else ROOT / "data") / "adaptation.json"
    options.targets = options.targets or options.families
    return options


if __name__ == "__main__":
    bench = Bench(parse())
    if not bench.options.show:
        bench.run()
    rows = [row for row in bench.rows() if row["seed"] in bench.options.seeds]
    summary(rows, bench.scale.counts)
    bench.say_missing()
    if bench.options.picture:
        draw_curves(rows, bench.options.picture)
