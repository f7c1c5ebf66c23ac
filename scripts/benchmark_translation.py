#!/usr/bin/env python3
"""What a translation is worth: the X-ray, its translation and the real EM, segmented by one recipe.

    scripts/benchmark_translation.py RUNS [--table FILE.json] [--data phantom fib25] [--seeds 0 1 2]
        [--model phantom=xnh-to-em] [--model fib25=runs/fib25-to-em/model] [--pictures FOLDER]
    scripts/benchmark_translation.py RUNS --losses plain --model phantom=runs/plain/model ...    # an ablation

For each data set and seed, data/recipes/translation-judge.toml is trained on the X-ray (interpolated to the
EM's voxels), on the real EM and on the translation; the network of the EM segments the translation too (row
"translation"; the one of the translation is row "own"). Each picks its agglomeration threshold on parts for
that (phantoms 1010-1015; 120 <= z < 138 of FIB-25), and is scored by VOI on parts that no training saw:
phantoms 2000-2005, and FIB-25 at z >= 150, whose X-ray is simulated (connectomics/phantom/simulate.py). A
model with {seed} in its path is another for each seed. Rows that are in the table (data/translation.json)
are not run again, so the script may be stopped and started at any time, and several may run at once on other
rows. Without RUNS it prints the table.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmark_table import add_row, has_row, read_rows

from connectomics.blockwise.progress import Silent
from connectomics.evaluation.compare_images import evaluate_image
from connectomics.evaluation.translation_picture import draw_translation
from connectomics.evaluation.translation_verdict import verdict
from connectomics.evaluation.volumes import VoiTable
from connectomics.inference.predictor import predictor_for
from connectomics.inference.rescale import read_rescaled
from connectomics.inference.settings import InferenceSettings, SamplingSettings
from connectomics.io.ome_zarr import create_array
from connectomics.io.opening import open_volume
from connectomics.io.volume import Volume
from connectomics.networks.models import find_model
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.phantom.simulate import SimulatedXray, XraySimulation
from connectomics.pipeline.settings import RegionSettings, RunSettings
from connectomics.pipeline.translate import translate_volume
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import at_thresholds
from connectomics.settings import apply_overrides, read_toml
from connectomics.training.settings import TrainSettings
from connectomics.training.train import train

RECIPES = Path(__file__).parents[1] / "data/recipes"
FIB25 = Path(__file__).parents[2] / "shared/data/fib25/fib25_train2.h5"
FACTOR = 3
THRESHOLDS = np.round([0.01, 0.02, *np.arange(0.05, 0.95, 0.05)], 2)
AS_GOOD = 0.001
"""Bits of VOI by which thresholds do not differ."""

SEGMENTATION = {"linkage": "mean"}
ROWS = {
    "xray": "X-ray, interpolated",
    "translation": "translation, by the network of the real EM",
    "own": "translation, by a network of its own",
    "em": "real EM",
}
TRANSLATED = ("translation", "own", "images")
NETWORKS = {"xray": "xray", "translation": "em", "own": "own", "em": "em"}
"""Whose network segments a row: that of the X-ray, of the EM, or of the translation."""
MODELS = {"phantom": "xnh-to-em", "fib25": "runs/fib25-to-em/model"}
SIDE = 249
"""Voxels of FIB-25 along y and x: whole X-ray voxels."""
SHOWN = ("voi_sum", "voi_split", "voi_merge")
UNLIKE = ("noisier", "darker", "z and x exchanged")


@dataclass(frozen=True)
class Part:
    """A piece of a data set: phantom `seed`, or FIB-25 from z = `low` to `high`; scored from `scored` on."""

    name: str
    use: str
    seed: int
    low: int = 0
    high: int = 0
    scored: int = 0


EDGES = {"fit": 192, "choose": 144, "test": 168}
PARTS = {
    "phantom": [
        Part("fit-100", "fit", 100),
        Part("fit-101", "fit", 101),
        *(Part(f"choose-{seed}", "choose", seed) for seed in range(1010, 1016)),
        *(Part(f"test-{seed}", "test", seed) for seed in range(2000, 2006)),
    ],
    "fib25": [
        Part("fit", "fit", 0, 0, 120),
        Part("choose", "choose", 1000, 96, 138, 24),
        Part("test", "test", 2000, 150, 249),
    ],
}


def main() -> None:
    options = parse()
    models = MODELS | dict(pair.split("=", 1) for pair in options.model)
    for seed in options.seeds:
        for data in options.data:
            model = models[data].format(seed=seed)
            run = Run(data, seed, options.runs, model, options.losses, options.set)
            for row in options.rows:
                key = {"data": data, "row": row, "seed": seed}
                if row in TRANSLATED:
                    key["losses"] = options.losses
                if options.runs is not None and not has_row(options.table, **key):
                    add_row(options.table, run.measure(row), order)
            if options.pictures is not None and seed == options.seeds[0]:
                run.draw(options.pictures)
    show(options.table)


@dataclass(frozen=True)
class Run:
    """The rows of one data set and seed."""

    data: str
    seed: int
    folder: Path
    translator: str
    losses: str | None
    changes: list

    def measure(self, row: str) -> dict:
        began = time.monotonic()
        found = self.images() if row == "images" else self.segmentation(row)
        minutes = round((time.monotonic() - began) / 60, 1)
        key = {"data": self.data, "row": row, "seed": self.seed}
        if self.losses and row in TRANSLATED:
            key["losses"] = self.losses
        return key | found | {"minutes": minutes}

    def named(self, name: str) -> str:
        """Name of a folder of this row's own, if it is one of translations."""
        kind = f"{self.losses}-" if self.losses and name in ("own", "translated") else ""
        return f"{self.data}-{name}-{kind}{self.seed}"

    def segmentation(self, row: str) -> dict:
        model = self.train(NETWORKS[row])
        threshold = self.threshold(model, row)
        pairs = [next(self.voi(model, row, part, [threshold]))[1] for part in self.parts("test")]
        split, merge = np.mean(pairs, axis=0)
        scores = {"voi_sum": split + merge, "voi_split": split, "voi_merge": merge}
        return {key: round(float(value), 4) for key, value in scores.items()} | {"threshold": threshold}

    def threshold(self, model, row: str) -> float:
        """The middle of those that are as good as the best on the parts to choose on."""
        curves = [
            [sum(pair) for _, pair in self.voi(model, row, part, THRESHOLDS)] for part in self.parts("choose")
        ]
        voi = np.mean(curves, axis=0)
        good = THRESHOLDS[voi <= voi.min() + AS_GOOD]
        return float(good[(len(good) - 1) // 2])

    def train(self, source: str):
        coarse = [
            self.image(part, "xray").voxel_size for part in self.parts("fit")
        ]  # made when first asked for
        fine = [size / FACTOR for size in coarse[0]]
        values = apply_overrides(read_toml(RECIPES / "translation-judge.toml"), self.changes)
        background = "true" if self.data == "phantom" else "unlabelled"
        volumes = [
            {"raw": self.shown(part, source).name, "labels": self.image(part, "labels/truth").name}
            | {"background": background}
            for part in self.parts("fit")
        ]
        values["data"] |= {"voxel_size": fine, "volumes": volumes}
        values["data"]["modality"] = "xray" if source == "xray" else "em"
        settings = TrainSettings.parse(values | {"seed": self.seed})
        return find_model(train(settings, self.folder / self.named(source)))

    def voi(self, model, row: str, part: Part, thresholds):
        """Threshold, and VOI split and merge of a part."""
        source = self.shown(part, row)
        box = tuple(slice(0, n) for n in source.shape)
        predictor = predictor_for(model, InferenceSettings(), source.read_box, source.shape)
        affinities = predictor.predict_box(source.read_box, source.shape, box)
        settings = SegmentationSettings.parse(SEGMENTATION)
        truth = self.image(part, "labels/truth").read()[part.scored :]
        for threshold, labels in at_thresholds(affinities, model.contract.offsets, settings, thresholds):
            table = VoiTable()
            table.add(labels[part.scored :], truth)
            scores = table.scores()
            yield threshold, (scores["voi_split"], scores["voi_merge"])

    def shown(self, part: Part, row: str) -> Volume:
        """The image of a part that a row is segmented from."""
        image = {"xray": "upsampled", "em": "em"}
        return self.image(part, image[row]) if row in image else self.translated(part, "em")

    def images(self) -> dict:
        """Scores of the translation itself, means over the test parts, and what it makes of unlike inputs."""
        found = []
        for part in self.parts("test"):
            em, spreads = self.translated(part, "em"), self.spreads(part)
            scores = evaluate_image(em, self.image(part, "em"), spreads)
            scores["epistemic"] = {"as trained": mean_of(self.translated(part, "epistemic"))}
            for kind in UNLIKE:
                scores["epistemic"][kind] = mean_of(self.translated(part, "epistemic", kind))
            found.append(scores)
        return mean_scores(found)

    def spreads(self, part: Part) -> list[Volume]:
        return [self.translated(part, name) for name in ("aleatoric", "epistemic")]

    def translated(self, part: Part, name: str, kind: str = "") -> Volume:
        source = self.folder / self.data / f"{part.name}.zarr" / "xray"
        name_of = f"{part.name}{kind.replace(' ', '-')}.zarr"
        out = self.folder / self.named("translated") / name_of
        if kind:
            source = out.with_suffix(".input.zarr") / "xray"
            if not source.exists():
                image = self.image(part, "xray")
                write(source.parent, "xray", unlike(image.read(), kind), image.voxel_size)
        translate_volume(
            str(source),
            out,
            self.translator,
            region=RegionSettings(),
            inference=InferenceSettings(),
            sampling=SamplingSettings(),
            rescale=False,
            run_settings=RunSettings(),
            progress=Silent(),
        )
        return open_volume(out / name)

    def parts(self, use: str) -> list[Part]:
        return [part for part in PARTS[self.data] if part.use == use]

    def image(self, part: Part, name: str) -> Volume:
        group = self.folder / self.data / f"{part.name}.zarr"
        if not (group / "labels/truth").exists():
            make = make_phantom if self.data == "phantom" else make_fib25
            partial = group.with_suffix(f".{os.getpid()}.zarr")
            make(part, partial)
            partial.replace(group)
        return open_volume(group / name)

    def draw(self, folder: Path) -> None:
        part = self.parts("test")[0]
        real = self.image(part, "em")
        z = real.shape[0] // 2

        def section(volume: Volume, at: int):
            y, x = (slice(0, n) for n in volume.shape[1:])
            return volume.read_box((slice(at, at + 1), y, x))[0]

        spreads = {volume.name.rsplit("/", 1)[-1]: section(volume, z) for volume in self.spreads(part)}
        xray, em = self.image(part, "xray"), self.translated(part, "em")
        picture = draw_translation(section(xray, z // FACTOR), section(em, z), section(real, z), spreads)
        folder.mkdir(parents=True, exist_ok=True)
        picture.savefig(folder / f"translation-{self.data}.png", dpi=90)


def make_phantom(part: Part, group: Path) -> None:
    edge = EDGES[part.use]
    coarse, fine = (
        Phantom(PhantomSettings(seed=part.seed, voxel_size=size, difficulty="hard")) for size in (99, 33)
    )
    box = (slice(0, edge),) * 3
    xray = coarse.xray((slice(0, edge // FACTOR),) * 3)
    write_part(group, xray, fine.em(box), fine.labels(box), 33.0)


def make_fib25(part: Part, group: Path) -> None:
    recipe = read_toml(RECIPES / "fib25-to-em.toml")["data"]["pairs"][0]["simulate"]
    look = {key: value for key, value in recipe.items() if key not in ("seed", "count")}
    z, whole = slice(part.low, part.high), slice(0, SIDE)
    em, labels = (
        open_volume(f"{FIB25}/{name}", (10, 10, 10)).read_box((z, whole, whole)) for name in ("raw", "labels")
    )
    volume = Volume(em, (10.0, 10.0, 10.0), (0.0, 0.0, 0.0), "FIB-25")
    made = SimulatedXray(volume, XraySimulation.parse(look | {"seed": part.seed, "factor": [FACTOR] * 3}))
    write_part(group, made.xray(tuple(slice(0, n) for n in made.shape)), em, labels, 10.0)


def write_part(group: Path, xray, em, labels, size: float) -> None:
    fine, coarse = (size,) * 3, (size * FACTOR,) * 3
    write(group, "xray", xray, coarse)
    write(group, "upsampled", read_rescaled(open_volume(group / "xray"), fine).read(), fine)
    write(group, "em", em, fine)
    write(group, "labels/truth", labels, fine)


def write(group: Path, name: str, array, size) -> None:
    layout = {"shape": array.shape, "dtype": array.dtype, "chunks": (64, 64, 64), "voxel_size": size}
    kind = "label" if name.startswith("labels") else "image"
    made = create_array(group, name, **layout, offset=(0, 0, 0), kind=kind)
    made.write_box(tuple(slice(0, n) for n in array.shape), array)


def unlike(image, kind: str):
    """An X-ray as no training had it."""
    if kind == "noisier":
        noise = np.random.default_rng(0).normal(0, image.std(), image.shape)
        return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    if kind == "darker":
        return np.rint(255 * (image / 255.0) ** 3).astype(np.uint8)
    return np.ascontiguousarray(image.transpose(2, 1, 0))


def mean_of(volume: Volume) -> float:
    return float(volume.read().mean(dtype=np.float64))


def mean_scores(found: list[dict]) -> dict:
    """The mean of every number, at its place."""
    first = found[0]
    if isinstance(first, dict):
        return {key: mean_scores([one[key] for one in found]) for key in first}
    if isinstance(first, list):
        return [mean_scores(list(values)) for values in zip(*found, strict=True)]
    return None if None in found else round(float(np.mean(found)), 4)


def order(row: dict) -> tuple:
    losses = row.get("losses") or ""
    return row["data"], losses, [*ROWS, "images"].index(row["row"]), row["seed"]


def show(table: Path) -> None:
    rows = read_rows(table)
    for data in PARTS:
        print(f"\n{data}\n\n| segmented | seeds | VOI sum (lowest - highest) | split | merge |")
        print("|---|---|---|---|---|")
        here = [one for one in rows if one["data"] == data]
        kinds = sorted({one["losses"] for one in here if "losses" in one})
        lines = [(row, None) for row in ROWS] + [
            (row, kind) for kind in kinds for row in ("translation", "own")
        ]
        voi = {}
        for row, kind in lines:
            found = [one for one in here if one["row"] == row and one.get("losses") == kind]
            voi[row, kind] = {one["seed"]: one["voi_sum"] for one in found}
            if not found and kind:
                continue
            sums = list(voi[row, kind].values())
            cells = [f"{np.mean([one[key] for one in found]):.3f}" if found else "" for key in SHOWN]
            spread = f" ({min(sums):.3f} - {max(sums):.3f})" if sums else "missing"
            name = f"{ROWS[row]}; losses: {kind}" if kind else ROWS[row]
            print(f"| {name} | {len(found)} | {cells[0]}{spread} | {cells[1]} | {cells[2]} |")
        for row in ("translation", "own"):
            judged = [voi[one, None] for one in ("xray", row, "em")]
            seeds = sorted(set.intersection(*(set(found) for found in judged)))
            if len(seeds) > 1:
                print(f"\n{ROWS[row]}: {verdict(*([found[seed] for seed in seeds] for found in judged))}")
        for one in here:
            if one["row"] == "images":
                print(f"\ntranslation, seed {one['seed']}: {json.dumps(one)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = [*ROWS, "images"]
    parser.add_argument(
        "runs", type=Path, nargs="?", help="folder for volumes, training runs and translations"
    )
    parser.add_argument("--table", type=Path, default=RECIPES.parent / "translation.json")
    parser.add_argument("--data", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--rows", nargs="+", default=rows, choices=rows)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", action="append", default=[], metavar="DATA=MODEL", help="the translation")
    parser.add_argument("--losses", help="name of the losses of the model, whose rows are kept apart")
    parser.add_argument("--set", action="append", default=[], help="change the recipe: section.key=value")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each data set")
    return parser.parse_args()


if __name__ == "__main__":
    main()
