"""Benchmark the network stage: overlap, rate and VOI against MONAI's sliding window, memory, margins.

    scripts/benchmark_inference.py fib25_train2.h5/raw --voxel-size 10 10 10 --model fib25-em \
        --truth fib25_train2.h5/labels --scored 0 140 --rois 96 128 --repeats 3

`torch` and `openvino` take --precision auto, `torch f32` float32. MONAI
runs as its users call it: the network as loaded, float32, overlap 0.25, gaussian.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import DynUNet

from connectomics.evaluation.volumes import VoiTable
from connectomics.inference.choice import make_engine
from connectomics.inference.memory import TileRule
from connectomics.inference.normalisation import sample_affine
from connectomics.inference.predictor import Predictor
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import create_array, create_group
from connectomics.io.opening import open_volume
from connectomics.networks.checkpoint import load_network
from connectomics.networks.models import find_model
from connectomics.pipeline.segment import segmentation_settings, used_offsets
from connectomics.segmentation.whole import segment_array

CHANNELS = 12
ENGINES = {
    "openvino": {"engine": "openvino"},
    "torch": {"engine": "torch"},
    "torch f32": {"engine": "torch", "precision": "f32"},
}
NORM = ("batch", {"affine": True})


class Peak:
    """Peak resident bytes of this process while the block runs."""

    def __enter__(self):
        self.value, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        process = psutil.Process()
        while not self._stop.wait(0.05):
            self.value = max(self.value, process.memory_info().rss)

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def load(args):
    if args.model:
        model = find_model(args.model)
        contract = model.contract
        return load_network(model), contract.out_channels, contract.divisor, contract.margin
    torch.manual_seed(0)
    filters = [16, 32, 64, 128]
    network = DynUNet(3, 1, CHANNELS, [3] * 4, [1, 2, 2, 2], [2] * 3, filters=filters, norm_name=NORM)
    return network.eval(), CHANNELS, (8, 8, 8), (16, 16, 16)


def predictor_of(network, channels, divisor, margin, affine, **values):
    settings = InferenceSettings.parse(values)
    engine, cost = make_engine(network, 1, channels, divisor, settings)
    return Predictor(engine, affine, TileRule(margin, divisor), settings, cost)


def blocks(lattice):
    return [tile.core for tile in lattice.tiles()]


def stream_once(predictor, raw):
    """Wall seconds of streaming `raw` into a zarr array, in cores as blocks, the peak memory, the values."""
    lattice = predictor.lattice(raw.shape)
    boxes = blocks(lattice)
    failures = []
    with tempfile.TemporaryDirectory() as folder, Peak() as peak:
        path = Path(folder) / "out.zarr"
        create_group(path)
        out = create_array(
            path,
            "prediction",
            shape=(predictor.channels, *raw.shape),
            dtype=np.uint8,
            chunks=(64, 64, 64),
            voxel_size=(10, 10, 10),
            offset=(0, 0, 0),
            kind="image",
        )
        start = time.perf_counter()
        predictor.stream(
            raw.__getitem__,
            raw.shape,
            boxes,
            lambda i, values: out.write_box(boxes[i], values),
            lambda i, error: failures.append(error),
        )
        wall = time.perf_counter() - start
        values = out.read()
    if failures:
        raise failures[0]
    return wall, peak.value, values


def bare_once(predictor, raw):
    """Seconds of the network alone over the same tiles, on data in memory."""
    rng = np.random.default_rng(0)
    total = 0.0
    for tile in predictor.lattice(raw.shape).tiles():
        source = rng.standard_normal((1, 1, *tile.shape), np.float32)
        start = time.perf_counter()
        predictor.engine(source)
        total += time.perf_counter() - start
    return total


def monai_once(network, raw, affine, roi):
    """Wall seconds of MONAI's sliding window as its users call it, the peak memory, the values."""
    with Peak() as peak, torch.inference_mode():
        start = time.perf_counter()
        source = torch.from_numpy(affine.apply(raw))[None, None]
        found = sliding_window_inference(source, (roi,) * 3, 1, network, overlap=0.25, mode="gaussian")
        found.sigmoid_()
        wall = time.perf_counter() - start
    return wall, peak.value, (found[0] * 255).round().to(torch.uint8).numpy()


def voi(affinities, image, args):
    """VOI sum of the model's own segmentation of these affinities, on the scored slices."""
    model = find_model(args.model)
    settings = segmentation_settings(model, {})
    offsets = used_offsets(model, settings)
    low, high = args.scored or (0, affinities.shape[1])
    used = np.ascontiguousarray(affinities[: len(offsets)])
    labels = segment_array(used, offsets, settings, image)[3]
    table = VoiTable()
    truth = open_volume(args.truth, args.voxel_size).read()[low:high].astype(np.uint64)
    table.add(labels[low:high], truth)
    return float(table.scores()["voi_sum"])


def margins(setup, affine, raw, engine):
    """Largest and mean difference, of 255, at tile faces from one whole-volume tile, for growing margins."""
    network, channels, divisor, _ = setup
    box = tuple(slice(0, n) for n in raw.shape)

    def run(margin, tile):
        made = predictor_of(
            network, channels, divisor, (margin,) * 3, affine, engine=engine, tile=tile, memory="1TB"
        )
        return made.predict_box(raw.__getitem__, raw.shape, box).astype(int)

    whole, rows = run(0, max(raw.shape)), []
    edge = -(-raw.shape[0] // 2 // divisor[0]) * divisor[0]
    for margin in (0, 8, 16, 24, 32):
        difference = np.abs(run(margin, edge) - whole)
        face = difference[:, edge - 2 : edge + 2]
        rows.append(
            {
                "margin": margin,
                "face_max": int(face.max()),
                "face_mean": float(face.mean()),
                "mean": float(difference.mean()),
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", help="such as fib25_train2.h5/raw")
    parser.add_argument("--voxel-size", nargs=3, type=float, default=None)
    parser.add_argument("--model", help="a model's name or folder; default: random weights, 1.4 M parameters")
    parser.add_argument("--crop", type=int, default=None, help="use the first N voxels along each axis")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--rois", type=int, nargs="*", default=[96, 128])
    parser.add_argument("--truth", help="labels: also compare the segmentations that come of it (VOI)")
    parser.add_argument("--scored", type=int, nargs=2, help="z slices of the truth that may be looked at")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    raw = open_volume(args.volume, args.voxel_size).read()[: args.crop, : args.crop, : args.crop]
    affine = sample_affine(raw.__getitem__, raw.shape)
    setup = load(args)

    def fresh(name):
        return predictor_of(*setup, affine, device="cpu", memory=args.memory, **ENGINES[name])

    ours = {name: fresh(name) for name in ENGINES}
    vois: dict[str, float] = {}
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, int] = {}
    for _ in range(args.repeats):
        for name in ours:
            made = fresh(name)  # its buffers go with it, so that no engine pays for another's
            wall, peak, values = stream_once(made, raw)
            if args.truth and name not in vois:
                vois[name] = voi(values, affine.apply(raw), args)
            seconds.setdefault(f"{name} bare", []).append(bare_once(made, raw))
            seconds.setdefault(f"{name} stream", []).append(wall)
            peaks[name] = max(peaks.get(name, 0), peak)
            del made
        for roi in args.rois:
            wall, peak, values = monai_once(setup[0], raw, affine, roi)
            if args.truth and f"monai {roi}" not in vois:
                vois[f"monai {roi}"] = voi(values, affine.apply(raw), args)
            seconds.setdefault(f"monai {roi}", []).append(wall)
            peaks[f"monai {roi}"] = max(peaks.get(f"monai {roi}", 0), peak)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    small = raw[:96, :96, :96]
    report = {
        "shape": raw.shape,
        "cores": {name: made.lattice(raw.shape).core for name, made in ours.items()},
        "seconds": median,
        "overlap": {name: median[f"{name} bare"] / median[f"{name} stream"] for name in ours},
        "mvoxel_per_s": {n: raw.size / s / 1e6 for n, s in median.items() if "bare" not in n},
        "speed_over_monai": {
            f"{name} / {roi}": median[f"monai {roi}"] / median[f"{name} stream"]
            for name in ours
            for roi in args.rois
        },
        "voi_sum": vois,
        "peak_bytes": peaks,
        "estimated_peak_bytes": {name: made.peak_bytes(raw.shape) for name, made in ours.items()},
        "margins": margins(setup, affine, small, "openvino"),
    }
    for key, value in report.items():
        print(f"{key:22s} {json.dumps(value)}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
