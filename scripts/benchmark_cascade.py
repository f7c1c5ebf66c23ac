#!/usr/bin/env python3
"""What a cascade saves and keeps: runs on sparse phantoms, its promise over many calibrations, its plan.

    scripts/benchmark_cascade.py FOLDER --part run      # one level against two and three, by density
    scripts/benchmark_cascade.py FOLDER --part promise  # recall over independent calibrations
    scripts/benchmark_cascade.py FOLDER --part plan     # how often a plan's interval holds the truth
    scripts/benchmark_cascade.py                        # prints the table

Rows are kept in data/cascade.json (--table); one that is there is not run again, so the script may be stopped
and started at any time. FOLDER keeps phantoms, cascade files and outputs.

`run`: a phantom (medium; axons come in bundles, so that of small volumes some seeds hold none: --seed, and
read the measured `prevalences`) is written once with its pyramid, then segmented with xnh-sparse at one
level (at its best tile size) and with a cascade of two and of three levels, all in one run, after a warm-up.
The network stage is everything from the first coarse chunk to the last affinity; the whole is that, the
segmentation, and the plan that decides whether the cascade pays, without building pyramids. `calls` are
chunks looked at per level, the finest first, before objects called tiles back; `expected_calls` is the
clustered formula fed with the measured prevalence, sensitivity and false-positive rate; `expected_seconds`
takes each level's seconds from the cascade file. `kept` is the share of axons all of whose chunks passed,
which is what a cascade promises; `recall` that of axons of which half the voxels are labelled in the end.

`promise`: phantoms at 132 nm, chunks of 8 voxels, levels 1 and 2, darkness alone. Each calibration has seeds
of its own; all are tested on one further set with at least 50 times their objects.

`plan`: phantoms at 132 nm of density 0.1; each seed draws another sample of coarsest chunks; the truth
is the count of all.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
from benchmark_table import add_row, has_row, read_rows
from scipy.stats import binomtest

from connectomics.blockwise.progress import Silent
from connectomics.cascade.calibrate import calibrate, score_volume
from connectomics.cascade.calibration import Scored, calls_per_level
from connectomics.cascade.chunks import coarsened
from connectomics.cascade.labelled import labelled_volumes
from connectomics.cascade.plan import Plan, decide, plan_cascade
from connectomics.cascade.settings import CalibrationSettings, Cascade, read_cascade
from connectomics.cascade.theory import Rates, expect
from connectomics.cascade.tree import Part
from connectomics.errors import InputError
from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.inference.settings import InferenceSettings
from connectomics.io.opening import open_volume
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.pipeline.chunk_scoring import PASSED
from connectomics.pipeline.phantom import write_phantom
from connectomics.pipeline.segment import segment_volume
from connectomics.pipeline.settings import RegionSettings, RunSettings
from connectomics.roi import Roi
from connectomics.settings import read_toml

DATA = Path(__file__).parents[1] / "data"
MODEL, SEED, SIZE = "xnh-sparse", 2000, 33.0
COARSEST = {"level": 2, "method": "model", "model": "xnh-detector-132"}
COARSE = 132.0
PLAN_DENSITY = 0.1
CALIBRATION_SEED, TEST_SEED, PLAN_SEED = 100_000, 1_000_000, 2_000_000
KEYS = {
    "run": ("density", "seed", "edge"),
    "promise": ("set", "recall", "confidence"),
    "plan": ("seed", "edge"),
}


class Clock(Silent):
    """When each step first began and last ended."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def start(self, step: str, total: int, done: int, unit: str = "blocks") -> None:
        self.began.setdefault(step, time.perf_counter())

    def finish(self, step: str) -> None:
        self.ended[step] = time.perf_counter()


def main() -> None:
    options = parse()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        {"run": run_part, "promise": promise_part, "plan": plan_part}[options.part](options)
    show(options.table)


def run_part(options) -> None:
    pending = [
        d
        for d in options.densities
        if not has_row(options.table, part=options.part, density=d, seed=options.seed, edge=options.edge)
    ]
    if not pending:
        return
    cascades = {name: calibrated(name, options) for name in ("two", "three")}
    warm = phantom_of(options.folder, 1.0, 64)
    for cascade in (None, cascades["two"]):
        segmented(warm, options.folder / "warm-up.zarr", cascade)
    for density in pending:
        group = phantom_of(options.folder, density, options.edge, seed=options.seed)
        row = {"part": "run", "density": density, "seed": options.seed, "edge": options.edge}
        row |= {"one": measured(group, density, None, options)}
        for name, cascade in cascades.items():
            row[name] = measured(group, density, cascade, options)
            for key in ("network_seconds", "seconds"):
                row[name][key.replace("seconds", "saved")] = round(1 - row[name][key] / row["one"][key], 4)
        add_row(options.table, row, order)


def calibrated(name: str, options) -> Cascade:
    """The cascade file in the folder, made from data/recipes/xnh-cascade.toml where it is not there."""
    path = getattr(options, name) or options.folder / f"{name}.cascade.json"
    if not path.exists():
        values = read_toml(DATA / "recipes/xnh-cascade.toml")
        values["levels"] += [COARSEST] if name == "three" else []
        values["promise"] = values.get("promise", {}) | options.promise
        for some in values["phantoms"]:
            some |= {"count": options.count or some["count"], "shape": [options.shape or 256] * 3}
        write(path, calibrate(CalibrationSettings.parse(values), InferenceSettings(), Silent()))
    return read_cascade(str(path))


def write(path: Path, cascade: Cascade) -> None:
    path.write_text(json.dumps(cascade.model_dump(mode="json"), indent=2) + "\n")


def phantom_of(folder: Path, density: float, edge: int, size: float = SIZE, seed: int = SEED) -> Path:
    path = folder / f"phantom-{density:g}-{edge}-{size:g}-{seed}.zarr"
    settings = PhantomSettings(seed=seed, density=density, voxel_size=size)
    write_phantom(path, (edge,) * 3, settings, ["xray", "labels/truth"], RunSettings(), Silent())
    return path


def segmented(group: Path, out: Path, cascade: Cascade | None) -> tuple[dict, Clock, float]:
    clock, began = Clock(), time.perf_counter()
    report = segment_volume(
        f"{group}/xray",
        out,
        MODEL,
        region=RegionSettings(),
        inference=InferenceSettings(),
        segmentation={},
        keep_affinities=False,
        rescale=False,
        run_settings=RunSettings(overwrite=True),
        progress=clock,
        cascade=cascade,
    )
    return report, clock, time.perf_counter() - began


def measured(group: Path, density: float, cascade: Cascade | None, options) -> dict:
    out = options.folder / "segmented.zarr"
    planned, began = None, time.perf_counter()
    if cascade is not None:
        planned = decide(Part(f"{group}/xray"), cascade, InferenceSettings(), Silent())
    planning = time.perf_counter() - began
    report, clock, whole = segmented(group, out, cascade)
    stage = [step for step in clock.began if step == "affinities" or step.startswith("cascade-")]
    network = max(clock.ended[step] for step in stage) - min(clock.began[step] for step in stage)
    pyramids = clock.ended["pyramids"] - clock.began["pyramids"]
    found = {
        "network_seconds": round(network, 2),
        "seconds": round(whole - pyramids + planning, 2),
        "plan_seconds": round(planning, 2),
    }
    phantom = Phantom(PhantomSettings(seed=options.seed, density=density))
    truth, scores = truth_and_scores(group, phantom, out, cascade.chunk if cascade else None)
    found |= scores
    if cascade is not None and planned is not None:
        found |= {"tiles": report["tiles"], "tiles_computed": report["tiles_computed"]}
        found |= {"pays": planned.pays, "planned_seconds": round(planned.seconds, 2)}
        found |= against_theory(out, cascade, truth)
    return found


def truth_and_scores(group: Path, phantom: Phantom, out: Path, chunk) -> tuple[dict, dict]:
    """Fine chunks of each axon; recall of axons and NERL. Read in slabs."""
    labels, found = open_volume(f"{group}/labels/truth"), open_volume(f"{out}/labels/segmentation")
    shape, depth = labels.shape, 32
    edge = shape[0] * SIZE
    skeletons = phantom.skeletons(Roi((0.0,) * 3, (edge,) * 3))
    nodes = np.clip(np.floor(skeletons.nodes / SIZE).astype(int), 0, np.array(shape) - 1)
    at_nodes = np.zeros(len(nodes), np.uint64)
    voxels: dict[int, np.ndarray] = {}
    chunks: dict[int, set] = {}
    for z in range(0, shape[0], depth):
        box = (slice(z, min(z + depth, shape[0])), slice(0, shape[1]), slice(0, shape[2]))
        true, said = labels.read_box(box), found.read_box(box)
        here = (nodes[:, 0] >= box[0].start) & (nodes[:, 0] < box[0].stop)
        at_nodes[here] = said[tuple((nodes[here] - (z, 0, 0)).T)]
        places = np.argwhere(true)
        ids = true[tuple(places.T)]
        hit = said[tuple(places.T)] > 0
        for one in np.unique(ids):
            mine = ids == one
            voxels[int(one)] = voxels.get(int(one), 0) + np.array([mine.sum(), hit[mine].sum()])
            if chunk is not None:
                rows = np.unique((places[mine] + (z, 0, 0)) // np.array(chunk), axis=0)
                chunks.setdefault(int(one), set()).update(map(tuple, rows.tolist()))
    half = [hits >= total / 2 for total, hits in voxels.values()]
    nerl = float(skeleton_scores(at_nodes, skeletons)["nerl"]) if len(nodes) else math.nan
    scores = {
        "axons": len(half),
        "recall": rounded(np.mean(half) if half else math.nan),
        "nerl": rounded(nerl),
    }
    return chunks, scores


def against_theory(out: Path, cascade: Cascade, objects: dict) -> dict:
    """Calls per level and what the formula says of them, fed with what was measured in this run."""
    verdicts = [
        open_volume(f"{out}/cascade/segment/level_{one.detector.level}").read() for one in cascade.levels
    ]
    shape = np.array(verdicts[0].shape) * 2
    truth = np.zeros(shape, bool)
    for places in objects.values():
        truth[tuple(np.array(sorted(places)).T)] = True
    truths = [coarsened(truth, (2**one.detector.level,) * 3) for one in cascade.levels]
    rates = [Rates(1.0, 1.0, cascade.fine_seconds)]
    for verdict, true, one in zip(verdicts, truths, cascade.levels, strict=True):
        called = verdict > 0
        passed = verdict == PASSED
        shares = [float(passed[w].mean()) if (w := called & kind).any() else 1.0 for kind in (true, ~true)]
        rates.append(Rates(*shares, one.seconds))
    prevalences = [float(t.mean()) for t in (truth, *truths)]
    expected = expect(rates, prevalences, truth.size)
    calls = [8 * int((verdicts[0] == PASSED).sum()), *(int((v > 0).sum()) for v in verdicts)]
    fine = [verdicts[0][tuple((np.array(sorted(places)) // 2).T)] == PASSED for places in objects.values()]
    return {
        "prevalences": [rounded(p) for p in prevalences],
        "rates": [[rounded(r.sensitivity), rounded(r.false_positive_rate)] for r in rates[1:]],
        "calls": calls,
        "expected_calls": [round(n, 1) for n in expected.calls],
        "expected_seconds": round(expected.seconds, 2),
        "expected_saved": rounded(1 - expected.seconds / (truth.size * cascade.dense_seconds)),
        "kept": rounded(np.mean([one.all() for one in fine]) if fine else math.nan),
    }


def coarse_settings(first_seed: int, count: int, options) -> CalibrationSettings:
    detectors = [{"level": level, "method": "dark"} for level in (1, 2)]
    phantoms = {"first_seed": first_seed, "count": count, "shape": [options.shape or 64] * 3}
    return CalibrationSettings.parse(
        {
            "name": "coarse",
            "voxel_size": [COARSE] * 3,
            "chunk": [8, 8, 8],
            "fine_seconds": 0.1,
            "levels": detectors,
            "promise": {"recall": 0.9, "confidence": 0.9, "coverage": 1.0} | options.promise,
            "phantoms": [phantoms | {"density": options.density}],
        }
    )


def promise_part(options) -> None:
    count = options.count or 4
    settings = coarse_settings(0, 1, options).promise
    key = {"recall": settings.recall, "confidence": settings.confidence}
    pending = [
        n for n in range(options.number) if not has_row(options.table, part=options.part, set=n, **key)
    ]
    test: list[Scored] = []
    for number in pending:
        row = {"part": "promise", "set": number, **key}
        try:
            given = coarse_settings(CALIBRATION_SEED + number * count, count, options)
            found = calibrate(given, InferenceSettings(), Silent())
        except InputError as error:  # too few axons for the promise: no cascade is made
            add_row(options.table, row | {"refused": str(error)}, order)
            continue
        test = test or test_set(math.ceil(options.ratio * 1.1 * count), options)
        thresholds = [one.threshold for one in found.levels]
        kept = np.concatenate([kept_objects(volume, thresholds) for volume in test])
        calls = np.sum([calls_per_level(volume, thresholds) for volume in test], axis=0)
        row |= {"objects": found.objects, "lost": found.lost, "tested": len(kept)}
        row |= {"kept": rounded(kept.mean()), "thresholds": [rounded(t) for t in thresholds]}
        add_row(options.table, row | {"calls": (calls / test_chunks(test)).round(4).tolist()}, order)


def test_set(count: int, options) -> list[Scored]:
    settings = coarse_settings(TEST_SEED, count, options)
    return [score_volume(given, settings, InferenceSettings()) for given in labelled_volumes(settings)]


def test_chunks(test: list[Scored]) -> int:
    return sum(math.prod(volume.shape) for volume in test)


def kept_objects(volume: Scored, thresholds: list[float]) -> np.ndarray:
    """Which objects keep all their chunks."""
    found = []
    for chunks in volume.objects:
        passed = [(volume.of_fine(level, chunks) >= t).all() for level, t in enumerate(thresholds)]
        found.append(all(passed))
    return np.array(found, bool)


def plan(part: Part, cascade: Cascade, sample: int, seed: int) -> Plan:
    return plan_cascade(part, cascade, InferenceSettings(), sample=sample, seed=seed, progress=Silent())


def plan_part(options) -> None:
    pending = [
        n
        for n in range(options.number)
        if not has_row(options.table, part=options.part, seed=n, edge=options.edge)
    ]
    if not pending:
        return
    path = options.folder / "coarse.cascade.json"
    if not path.exists():
        settings = coarse_settings(PLAN_SEED, options.count or 16, options)
        write(path, calibrate(settings, InferenceSettings(), Silent()))
    cascade, truths = read_cascade(str(path)), {}
    for seed in pending:
        which = seed % options.volumes
        group = phantom_of(options.folder, PLAN_DENSITY, options.edge, COARSE, PLAN_SEED + 1000 + which)
        part = Part(f"{group}/xray")
        if which not in truths:
            truths[which] = plan(part, cascade, 10**9, 0)
        true, said = truths[which], plan(part, cascade, options.sample, seed)
        level = said.levels[0]
        add_row(
            options.table,
            {
                "part": "plan",
                "seed": seed,
                "edge": options.edge,
                "calls": true.levels[0].calls,
                "low": round(level.calls_low, 1),
                "high": round(level.calls_high, 1),
                "seconds": round(true.seconds, 2),
                "seconds_low": round(said.seconds_low, 2),
                "seconds_high": round(said.seconds_high, 2),
                "sampled_share": rounded(said.sampled_share),
                "pays_alike": said.pays == true.pays,
            },
            order,
        )


def rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)


def order(row: dict) -> tuple:
    return list(KEYS).index(row["part"]), *(row[key] for key in KEYS[row["part"]])


def show(table: Path) -> None:
    rows = read_rows(table)
    runs = [row for row in rows if row["part"] == "run"]
    if runs:
        print("| edge | p, p1 | levels | network s | saved | expected | whole s | saved | recall | NERL |")
        print("|---|---|---|---|---|---|---|---|---|---|")
    for row in runs:
        for name in ("one", "two", "three"):
            one = row[name]
            prevalence = ", ".join(f"{p:.3f}" for p in row["two"].get("prevalences", ()))
            cells = [row["edge"], prevalence, name, one["network_seconds"], one.get("network_saved", "")]
            cells += [one.get("expected_saved", ""), one["seconds"], one.get("saved", "")]
            print(f"| {' | '.join(map(str, [*cells, one['recall'], one['nerl']]))} |")
    for goal in sorted({(r["recall"], r["confidence"]) for r in rows if r["part"] == "promise"}):
        show_promise([r for r in rows if r["part"] == "promise"], *goal)
    for edge in sorted({row["edge"] for row in rows if row["part"] == "plan"}):
        show_plan([row for row in rows if row["part"] == "plan" and row["edge"] == edge], edge)


def show_promise(rows: list[dict], recall: float, confidence: float) -> None:
    rows = [row for row in rows if (row["recall"], row["confidence"]) == (recall, confidence)]
    made = [row for row in rows if "refused" not in row]
    if not made:
        print(f"\npromise of {recall:g} with confidence {confidence:g}: all {len(rows)} sets were too small")
        return
    misses = sum(row["kept"] < recall for row in made)
    value = binomtest(misses, len(made), 1 - confidence, alternative="greater").pvalue
    ratio = min(row["tested"] / row["objects"] for row in made)
    kept = np.mean([row["kept"] for row in made])
    calls = np.mean([row["calls"][0] for row in made])
    print(
        f"\npromise of {recall:g} with confidence {confidence:g}: {misses} of {len(made)} calibrations "
        f"missed it (p = {value:.3f}; {len(rows) - len(made)} sets were too small); mean recall "
        f"{kept:.4f}; fine chunks called {calls:.3f} of all; tested on {ratio:.0f} or more times the objects"
    )


def show_plan(rows: list[dict], edge: int) -> None:
    inside = sum(row["low"] <= row["calls"] <= row["high"] for row in rows)
    seconds = sum(row["seconds_low"] <= row["seconds"] <= row["seconds_high"] for row in rows)
    width = np.median([(row["high"] - row["low"]) / max(1.0, row["calls"]) for row in rows])
    share = np.mean([row["sampled_share"] for row in rows])
    print(
        f"\nplan, edge {edge}: the 90% interval held the calls in {inside} and the seconds in {seconds} of "
        f"{len(rows)} seeds; median width {width:.2f} of the truth; {share:.1%} of the coarsest chunks read"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="for phantoms, cascade files and outputs")
    parser.add_argument("--part", choices=list(KEYS), default="run")
    parser.add_argument("--table", type=Path, default=DATA / "cascade.json")
    parser.add_argument("--edge", type=int, help="voxels; default: 512 (run), 256 (plan)")
    parser.add_argument("--densities", type=float, nargs="+", default=[0.01, 0.05, 0.10, 0.30])
    parser.add_argument("--seed", type=int, default=SEED, help="run: of the phantoms")
    parser.add_argument("--density", type=float, default=0.5, help="of phantoms to calibrate at 132 nm on")
    parser.add_argument("--two", type=Path, help="cascade file of two levels; default: calibrated here")
    parser.add_argument("--three", type=Path, help="cascade file of three levels")
    parser.add_argument("--number", type=int, help="calibrations (200) or seeds of a plan (100)")
    parser.add_argument("--count", type=int, help="phantoms of a calibration; default: the recipe's, 4, 16")
    parser.add_argument("--shape", type=int, help="edge of a calibration's phantoms, voxels")
    parser.add_argument("--ratio", type=float, default=50.0, help="promise: phantoms tested on, per phantom")
    parser.add_argument(
        "--volumes", type=int, default=5, help="plan: phantoms that the seeds are shared among"
    )
    parser.add_argument("--sample", type=int, default=64, help="plan: coarsest chunks looked at")
    parser.add_argument("--recall", type=float, help="of the promise; default: the recipe's, 0.9, 0.9")
    parser.add_argument("--confidence", type=float)
    options = parser.parse_args()
    options.edge = options.edge or (512 if options.part == "run" else 256)
    options.number = options.number or (200 if options.part == "promise" else 100)
    given = {"recall": options.recall, "confidence": options.confidence}
    options.promise = {name: value for name, value in given.items() if value is not None}
    return options


if __name__ == "__main__":
    main()
