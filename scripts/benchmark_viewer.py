#!/usr/bin/env python3
"""How long the viewer takes on a large segmentation: open, next in the queue, a merge; and its memory.

    xvfb-run -a -s "-screen 0 1280x1024x24" scripts/benchmark_viewer.py OUT.zarr --size 2048 [--steps 100]

OUT.zarr is written once: the labels of a phantom of density 0.01 (as `connectomics phantom --density 0.01
--truth`, its X-ray image left out, which would take hours), cut at the faces of blocks of 128 voxels into
fragments, of which some were kept apart; and an image made from the labels. Prints medians as JSON.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

BLOCK = 128
DENSITY = 0.01
SEED = 2010
"""Of 2000-2011 the one with the most axons in 2048^3 voxels; many seeds of this density have a handful."""
KEPT_APART = 0.1
"""Share of the fragments that were made segments of their own: what a reviewer merges."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--density", type=float, default=DENSITY)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--merges", type=int, default=20)
    options = parser.parse_args()
    if not (options.output / "lut").is_dir():
        write_output(options.output, options.size, options.density)
    began = time.perf_counter()
    from napari_connectomics.widgets import window  # noqa: F401

    imported = time.perf_counter() - began
    print(
        json.dumps({"size": options.size, "import_seconds": round(imported, 2)} | measure(options), indent=1)
    )


# --- the segmentation --------------------------------------------------------------------------------------


def write_output(path: Path, size: int, density: float) -> None:
    """Write what `segment` would, from the labels of a phantom."""
    from connectomics.blockwise.grid import Grid
    from connectomics.blockwise.progress import Silent
    from connectomics.io.ome_zarr import create_array, open_array
    from connectomics.io.pyramid import build_pyramid
    from connectomics.phantom.settings import PhantomSettings
    from connectomics.pipeline.phantom import write_phantom
    from connectomics.pipeline.resources import pyramid_levels
    from connectomics.pipeline.settings import RunSettings

    shape = (size,) * 3
    settings = PhantomSettings(seed=SEED, density=density)
    write_phantom(path, shape, settings, ["labels/truth"], RunSettings(), Silent())
    truth = open_array(path, "labels/truth")
    names = ("em", "labels/fragments", "labels/segmentation")
    layout = {"shape": shape, "chunks": (64,) * 3, "voxel_size": truth.voxel_size, "offset": truth.offset}
    for name in names:
        label = name.startswith("labels/")
        kind = "label" if label else "image"
        create_array(path, name, dtype=np.uint64 if label else np.uint8, kind=kind, **layout)
    volumes = {name: open_array(path, name) for name in names}
    tables, segments = Tables(), Segments()
    for block in Grid(shape, (BLOCK,) * 3):
        labels = truth.read_box(block.box)
        if labels.any():
            fragments = tables.fragments(labels)
            tables.inside(fragments, [s.start for s in block.box])
            volumes["labels/fragments"].write_box(block.box, fragments)
            volumes["labels/segmentation"].write_box(block.box, segments.of(tables)[fragments])
            volumes["em"].write_box(block.box, np.where(labels > 0, 160, 60).astype(np.uint8))
    for name in names:
        build_pyramid(path, name, pyramid_levels(shape))
    tables.faces(volumes["labels/fragments"], size)
    tables.write(path, truth, segments.of(tables))


class Tables:
    """What is known of fragments and of their contacts."""

    def __init__(self) -> None:
        self.objects: list[int] = [0]
        self.voxels: list[int] = [0]
        self.edges: dict[tuple[int, int], list[float]] = {}

    def fragments(self, labels: np.ndarray) -> np.ndarray:
        """A number of its own for each object of a block."""
        objects, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
        numbers = np.zeros(len(objects), np.uint64)
        first = len(self.objects)
        known = np.flatnonzero(objects)
        numbers[known] = first + np.arange(len(known))
        self.objects += objects[known].tolist()
        self.voxels += counts[known].tolist()
        return numbers[place].reshape(labels.shape)

    def inside(self, fragments: np.ndarray, corner: list[int]) -> None:
        """Contacts in a block."""
        for axis in range(3):
            low = np.take(fragments, range(fragments.shape[axis] - 1), axis)
            high = np.take(fragments, range(1, fragments.shape[axis]), axis)
            self.touch(low, high, axis, corner)

    def faces(self, volume: Any, size: int) -> None:
        """Contacts across the faces of blocks."""
        for axis in range(3):
            for face in range(BLOCK, size, BLOCK):
                for side in range(0, size, BLOCK):  # a beam of the face at a time
                    box = [slice(0, size)] * 3
                    box[axis], box[(axis + 1) % 3] = slice(face - 1, face + 1), slice(side, side + BLOCK)
                    both = volume.read_box(tuple(box))
                    if both.any():
                        low, high = np.take(both, [0], axis), np.take(both, [1], axis)
                        self.touch(low, high, axis, [s.start for s in box])

    def touch(self, low: np.ndarray, high: np.ndarray, axis: int, corner: list[int]) -> None:
        """Count pairs of voxels of two fragments."""
        there = np.argwhere((low != high) & (low > 0) & (high > 0))
        if not len(there):
            return
        pairs = np.sort(np.stack([low[tuple(there.T)], high[tuple(there.T)]], 1), axis=1)
        middle = there + np.array(corner) + 0.5
        middle[:, axis] += 0.5
        for (u, v), place in zip(pairs.tolist(), middle.tolist(), strict=True):
            entry = self.edges.setdefault((u, v), [0.0, 0.0, 0.0, 0.0])
            entry[0] += 1
            for i in range(3):
                entry[i + 1] += place[i]

    def write(self, path: Path, volume: Any, lut: np.ndarray) -> None:
        from connectomics.io.tables import write_table

        keys = sorted(self.edges)
        sums = np.array([self.edges[key] for key in keys])
        objects = np.array(self.objects)
        edges = np.array(keys, np.uint64)
        same = objects[edges[:, 0].astype(int)] == objects[edges[:, 1].astype(int)]
        chance = np.random.default_rng(SEED).random(len(edges))
        tables = {
            "edges": edges,
            "mean": np.where(same, 0.9, 0.1).astype(np.float32),
            "std": np.full(len(edges), 0.1, np.float32),
            "size": sums[:, 0].astype(np.float32),
            "p_wrong": (0.02 + 0.5 * chance).astype(np.float32),
            "position": (sums[:, 1:] / sums[:, :1] * volume.voxel_size + volume.offset).astype(np.float32),
            "voxels": np.array(self.voxels, np.int64),
        }
        for name, table in tables.items():
            write_table(path / "region_graph", name, table)
        write_table(path, "lut", lut)


class Segments:
    """Which segment each fragment is of: that of its object, or its own."""

    def __init__(self) -> None:
        self.lut = np.zeros(1, np.uint64)
        self.first: dict[int, int] = {}
        self.random = np.random.default_rng(SEED)

    def of(self, tables: Tables) -> np.ndarray:
        own = []
        for number in range(len(self.lut), len(tables.objects)):
            apart = self.random.random() < KEPT_APART
            own.append(number if apart else self.first.setdefault(tables.objects[number], number))
        self.lut = np.concatenate([self.lut, np.array(own, np.uint64)])
        return self.lut


# --- the viewer --------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    from connectomics.pipeline.layers import open_layers
    from napari_connectomics.widgets.window import add_docks, open_window

    def opened() -> Any:
        viewer = open_window(open_layers(options.output), wait=False, docks=False)
        drawn()
        return viewer

    viewer, open_seconds = timed(opened)
    review: Any = add_docks(viewer)["Review"]
    review.author.setText(f"benchmark-{time.time_ns()}")
    _, begin_seconds = timed(lambda: (review.begin(), until(lambda: review.controller is not None)))
    drawn()
    process = psutil.Process()
    before, steps = process.memory_info().rss, []
    for _ in range(options.steps):
        steps.append(timed(lambda: (review.do("next"), drawn()))[1])
    grown = process.memory_info().rss - before
    merges = merge_some(review, options.merges)
    result = {
        "fragments": len(review.controller.session.output.lut) - 1,
        "open_seconds": open_seconds,
        "begin_review_seconds": begin_seconds,
        "next_seconds_median": statistics.median(steps),
        "next_seconds_worst": max(steps),
        "merge_seconds_median": statistics.median(merges) if merges else None,
        "merges": len(merges),
        "memory_growth_bytes": grown,
        "resident_bytes": process.memory_info().rss,
    }
    review.end()
    viewer.close()
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in result.items()}


def merge_some(review: Any, number: int) -> list[float]:
    """Seconds of merges by the second of two clicks, drawn again; each in view."""
    controller = review.controller
    review.alone.setChecked(False)
    controller.rank_by("run-length")  # from the first again
    seconds: list[float] = []
    for _ in range(50 * number):
        candidate = controller.session.current
        if candidate is None or len(seconds) == number:
            break
        if candidate.kind == "merge":
            controller.set_mode("merge")
            drawn()
            a, b = candidate.fragments
            seconds.append(timed(lambda a=a, b=b: (controller.merge_fragments(a, b), drawn()))[1])
        review.do("next")
    return seconds


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = action()
    return result, time.perf_counter() - began


def drawn() -> None:
    """Until the window has drawn what there is to draw."""
    from qtpy.QtWidgets import QApplication

    for _ in range(3):
        QApplication.processEvents()


def until(met: Callable[[], bool], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            sys.exit("the review does not begin.")
        drawn()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
