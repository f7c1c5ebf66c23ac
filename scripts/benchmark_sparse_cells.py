#!/usr/bin/env python3
"""A cascade on real sparse cells: what it keeps of a single level's detections, and saves. Prints JSON.

    scripts/benchmark_sparse_cells.py FOLDER [--recall 0.95] [--confidence 0.9]

The single level is a blob detector (Laplacian of Gaussian on the square root of the signal, local maxima)
over every voxel of ../shared/data/sparse_cells. The half with y < 255 calibrates a cascade of two coarse
levels on the single level's own detections, in strips along x; the other half, untouched until then, is
looked at by both. Chunks are 8 x 16 x 16 voxels (40 x 32 x 32 um). The 56 points that come with the data are
another detector's output: the share of them that has a detection within 16 um is told for both, as a
reference and no truth. Building pyramids is not counted.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from scipy.ndimage import gaussian_laplace, maximum_filter

from connectomics.blockwise.progress import Silent
from connectomics.cascade.calibrate import calibrate
from connectomics.cascade.chunks import counts, refined
from connectomics.cascade.detectors import scorer
from connectomics.cascade.levels import open_level
from connectomics.cascade.settings import CalibrationSettings, Cascade
from connectomics.inference.settings import InferenceSettings
from connectomics.pipeline.convert import ConvertSettings, convert_volume
from connectomics.pipeline.settings import RunSettings

DATA = Path(__file__).parents[2] / "shared/data/sparse_cells/cellfinder_crop_signal.h5"
SIZE = np.array([5.0, 2.0, 2.0])  # um
CHUNK = (8, 16, 16)
SIGMA, STRENGTH = 4.0, 60.0  # um; response of a cell that is seen
HALO = (4, 10, 10)
SPLIT, STRIPS = 255, 6


def main() -> None:
    options = parse()
    with h5py.File(DATA) as file:
        signal, reference = file["signal"][:], file["cells_zyx_reference"][:]
    options.folder.mkdir(parents=True, exist_ok=True)
    strips = np.array_split(np.arange(signal.shape[2]), STRIPS)
    names = [
        write(options.folder, f"strip{i}", signal[:, :SPLIT, x[0] : x[-1] + 1]) for i, x in enumerate(strips)
    ]
    held = signal[:, SPLIT:]
    whole = (slice(0, held.shape[0]), slice(0, held.shape[1]), slice(0, held.shape[2]))
    detect(held, whole)
    began = time.perf_counter()
    single = detect(held, whole)
    dense = time.perf_counter() - began
    chunks = float(np.prod([n / c for n, c in zip(held.shape, CHUNK, strict=True)]))
    settings = settings_of(options, names, dense / chunks)
    cascade = calibrate(settings, InferenceSettings(), Silent())
    passed, coarse = look(write(options.folder, "held", held), options.folder, cascade, held.shape)
    began = time.perf_counter()
    found = [detect(held, voxels(box, held.shape)) for box in runs(passed)]
    fine = time.perf_counter() - began
    kept = np.concatenate(found) if found else np.zeros((0, 3), int)
    inside = {tuple(p) for p in kept.tolist()}
    points = reference[reference[:, 1] >= SPLIT] - (0, SPLIT, 0)
    print(
        json.dumps(
            {
                "promise": [options.recall, options.confidence],
                "calibrated_on": cascade.objects,
                "lost_in_calibration": cascade.lost,
                "single_level_detections": len(single),
                "kept": round(np.mean([tuple(p) in inside for p in single.tolist()]), 4),
                "chunks_with_detections": round(float(holding(single, held.shape)), 4),
                "fine_chunks_called": round(float(passed.mean()), 4),
                "single_seconds": round(dense, 3),
                "cascade_seconds": [round(fine, 3), *(round(s, 3) for s in coarse)],
                "saved": round(1 - (fine + sum(coarse)) / dense, 4),
                "reference_points": len(points),
                "reference_found_by_single": near(points, single),
                "reference_found_by_cascade": near(points, kept),
            },
            indent=1,
        )
    )


def settings_of(options, names: list[str], fine_seconds: float) -> CalibrationSettings:
    return CalibrationSettings.parse(
        {
            "name": "cells",
            "modality": "em",
            "voxel_size": (SIZE * 1000).tolist(),
            "chunk": CHUNK,
            "fine_seconds": fine_seconds,
            "root": str(options.folder),
            "levels": [
                {"level": level, "method": "bright", "share": 0.01, "smooth": 1.0} for level in (1, 2)
            ],
            "promise": {"recall": options.recall, "confidence": options.confidence},
            "volumes": [{"raw": f"{name}-signal.zarr", "labels": f"{name}-labels.zarr"} for name in names],
        }
    )


def detect(signal: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    """Places (n, 3) of the cells in a box; what lies around it is read, so that cutting changes nothing."""
    outer = tuple(
        slice(max(0, s.start - h), min(n, s.stop + h))
        for s, h, n in zip(box, HALO, signal.shape, strict=True)
    )
    image = np.sqrt(signal[outer], dtype=np.float32)
    blobs = -gaussian_laplace(image, SIGMA / SIZE, truncate=2.0) * SIGMA**2
    peaks = (maximum_filter(blobs, (5, 9, 9)) == blobs) & (blobs > STRENGTH)
    places = np.argwhere(peaks) + [s.start for s in outer]
    inside = [(places[:, a] >= s.start) & (places[:, a] < s.stop) for a, s in enumerate(box)]
    return places[np.logical_and.reduce(inside)]


def write(folder: Path, name: str, signal: np.ndarray) -> str:
    """OME-Zarr images of a signal, with its pyramid, and of its detections, one voxel each."""
    places = detect(signal, tuple(slice(0, n) for n in signal.shape))
    labels = np.zeros(signal.shape, np.uint16)
    labels[tuple(places.T)] = np.arange(1, len(places) + 1)
    source = folder / f"{name}.h5"
    with h5py.File(source, "w") as file:
        file["signal"], file["labels"] = signal, labels
    for key, levels in (("signal", 3), ("labels", 1)):
        settings = ConvertSettings(levels=levels, labels=key == "labels")
        size = tuple((SIZE * 1000).tolist())
        target = folder / f"{name}-{key}.zarr"
        convert_volume(f"{source}/{key}", target, settings, size, RunSettings(overwrite=True), Silent())
    return name


def look(name: str, folder: Path, cascade: Cascade, shape: tuple[int, ...]) -> tuple[np.ndarray, list[float]]:
    """Which fine chunks the cascade lets through, and the seconds of its levels, the coarsest first."""
    passed, before = np.ones((1, 1, 1), bool), None
    spent = []
    for one in reversed(cascade.levels):
        level = open_level(str(folder / f"{name}-signal.zarr"), None, one.detector.level)
        began = time.perf_counter()
        grid = level.counts(CHUNK)
        score = scorer(one.detector, level.volume, CHUNK, InferenceSettings())
        ratio = grid if before is None else [b // f for b, f in zip(before, level.factor, strict=True)]
        called = refined(passed, ratio, grid)
        passed = np.zeros(grid, bool)
        for box in runs(called):
            passed[box] = score(box) >= one.threshold
        before = level.factor
        spent.append(time.perf_counter() - began)
    return refined(passed, before, counts(shape, CHUNK)), spent


def runs(chosen: np.ndarray) -> Iterator[tuple[slice, ...]]:
    """Boxes of chunks that cover those chosen: runs of them along x."""
    for z, y in np.ndindex(*chosen.shape[:2]):
        edges = np.flatnonzero(np.diff(chosen[z, y].astype(np.int8), prepend=0, append=0))
        for first, end in edges.reshape(-1, 2).tolist():
            yield slice(z, z + 1), slice(y, y + 1), slice(first, end)


def voxels(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(s.start * c, min(n, s.stop * c)) for s, c, n in zip(box, CHUNK, shape, strict=True))


def holding(places: np.ndarray, shape: tuple[int, ...]) -> float:
    return len(np.unique(places // CHUNK, axis=0)) / float(np.prod(counts(shape, CHUNK)))


def near(points: np.ndarray, places: np.ndarray) -> float:
    away = np.linalg.norm((points[:, None] - places[None]) * SIZE, axis=2)
    return round(float((away.min(1, initial=np.inf) <= 16).mean()), 4)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for what is cut from the volume")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--confidence", type=float, default=0.9)
    return parser.parse_args()


if __name__ == "__main__":
    main()
