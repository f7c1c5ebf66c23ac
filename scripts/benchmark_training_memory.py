#!/usr/bin/env python3
"""Memory of a training of the make-up of XPRESS: bytes for each voxel of the volume, and for each of a block.

    scripts/benchmark_training_memory.py FOLDER [--edges 200 400] [--block-edge 144]

It runs data/recipes/xpress.toml, with a small network and one round of pseudo labels, on made-up volumes:
bright bars, a skeleton in each, one in 200 voxels painted. What grows with the volume is the slope of the
peak between two sizes, with nothing done to blocks. What grows with a block (tubes: 256 voxels and the reach
around them; rounds: 320 and 48 around them) is measured in one block. Memory is the maximum over time of the
summed PSS of the process.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import psutil
from scipy.ndimage import gaussian_filter

from connectomics.blockwise.peak import PeakMemory, tree_bytes
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.settings import read_toml
from connectomics.training.pseudo import pseudo_labels
from connectomics.training.tubes import draw_tubes

RECIPE = Path(__file__).parents[1] / "data/recipes/xpress.toml"
SIZE, PITCH = 33, 16
XPRESS = 1200
PROGRAM = """
import sys
import numpy as np
from connectomics.training import rounds, targets, train, truth, tubes
rounds._BLOCK = tubes._BLOCK = 96
truth._REACH, targets._SLAB_VOXELS = 16, 2**20
tubes._tubes = lambda traces, raw, *_: np.where(raw > 150, traces.max(), 0)
rounds.predict_source = lambda network, source, divisor, channels: np.zeros((3, 1, 1, 1), np.uint8)
rounds.pseudo_labels = lambda affinities, offsets, traces, *_: np.maximum(traces, 0)
sys.exit(train.main(sys.argv[1:]))
"""
"""A training with nothing done to a block, so that what is held of the whole volume shows."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edges", type=int, nargs=2, default=[200, 400])
    parser.add_argument("--block-edge", type=int, default=144)
    options = parser.parse_args()
    volume = slope(options.folder, options.edges)
    print(
        f"{volume:.1f} bytes for each voxel of the volume: {volume * XPRESS**3 / 1e9:.0f} GB for {XPRESS}^3"
    )
    for name, bytes_each in of_a_block(options.block_edge).items():
        print(f"{bytes_each:.0f} bytes for each voxel of a block and its surroundings: {name}", flush=True)


def of_a_block(edge: int) -> dict[str, float]:
    """Bytes a voxel of the work on one block: tubes, pseudo labels from clean affinities and from noise."""
    random = np.random.default_rng(0)
    bar, number = bars(edge)
    noise = random.normal(0, 12, (edge, edge, edge))
    raw = np.clip(60 + 120 * bar + noise, 0, 255).astype(np.uint8)
    traces = np.zeros(raw.shape, np.int32)
    traces[:, 9::PITCH, 9::PITCH] = number[9::PITCH, 9::PITCH]
    values = read_toml(RECIPE)
    offsets = [tuple(offset) for offset in values["targets"]["offsets"]]
    settings = SegmentationSettings.parse(values["validation"]["segmentation"])
    clean = np.clip(25 + 200 * bar + noise, 0, 255).astype(np.uint8)
    blurred = np.clip(127 + 12 * gaussian_filter(noise, 1), 0, 255).astype(np.uint8)
    found = {}
    with PeakMemory() as memory:
        before = tree_bytes(psutil.Process())
        draw_tubes(traces, raw, (SIZE,) * 3, 100, 1000)
    found["tubes"] = (memory.peak_bytes - before) / raw.size
    for name, channel in (("clean", clean), ("noise", blurred)):
        affinities = np.repeat(channel[None], len(offsets), 0)
        with PeakMemory() as memory:
            before = tree_bytes(psutil.Process())
            pseudo_labels(affinities, offsets, traces, settings)
        found[f"pseudo labels, affinities that are {name}"] = (memory.peak_bytes - before) / raw.size
    return found


def slope(folder: Path, edges: list[int]) -> float:
    low, high = (peak(folder / str(edge), edge) for edge in edges)
    return (high - low) / (edges[1] ** 3 - edges[0] ** 3)


def peak(folder: Path, edge: int) -> int:
    if not (folder / "made").exists():
        make(folder, edge)
    changes = {
        "data.root": str(folder), "steps": 4, "crop": "[32, 32, 32]", "batch": 1, "device": "cpu",
        "truth.rounds": 1, "network.parameters.filters": "[4, 8, 8]", "checkpoint_every": 1000,
    }  # fmt: skip
    arguments = [text for key, value in changes.items() for text in ("--set", f"{key}={value}")]
    run = folder / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(RECIPE), "--output", str(run), *arguments],
        stderr=subprocess.DEVNULL,
    )
    with PeakMemory(process.pid) as memory:
        code = process.wait()
    if code or not (run / "pseudo-1.npz").exists():
        sys.exit(f"{run}: the training failed, or was there before; remove it")
    print(f"{edge}^3: {memory.peak_bytes / 1e9:.2f} GB", flush=True)
    return memory.peak_bytes


def bars(edge: int) -> tuple[np.ndarray, np.ndarray]:
    """A section: where a bar is, and the number of each cell."""
    across = np.arange(edge) % PITCH
    cell = np.arange(edge) // PITCH
    return (across >= 3)[:, None] & (across >= 3)[None], cell[:, None] * (edge // PITCH + 1) + cell + 1


def make(folder: Path, edge: int) -> None:
    """Bars along z, dark walls between them; files named and laid out as the challenge's."""
    folder.mkdir(parents=True)
    place = {"resolution": (SIZE,) * 3, "offset": (0,) * 3}
    bar, number = bars(edge)
    noise = np.random.default_rng(0).normal(0, 12, (edge, edge))
    with h5py.File(folder / "xpress-training-raw.h5", "w") as file:
        raw = file.create_dataset("volumes/raw", (edge,) * 3, "u1", chunks=(32, 64, 64))
        for z in range(edge):
            raw[z] = np.clip(60 + 120 * bar + np.roll(noise, (7 * z, 11 * z), (0, 1)), 0, 255)
        raw.attrs.update(place)
    painted, low = round(edge / 6), round(edge * 5 / 12)
    cut = slice(low, low + painted)
    with h5py.File(folder / "xpress-training-voxel-labels.h5", "w") as file:
        labels = np.where(bar, number, 0)[cut, cut]
        file["volumes/labels"] = np.broadcast_to(labels, (painted,) * 3).astype(np.uint32)
        file["volumes/labels"].attrs.update(place | {"offset": (low * SIZE,) * 3})
    starts = [(y, x) for y in range(9, edge, PITCH) for x in range(9, edge, PITCH)]
    nodes = np.array([(z + 0.5, y + 0.5, x + 0.5) for y, x in starts for z in range(0, edge, 8)]) * SIZE
    each = len(range(0, edge, 8))
    first = np.arange(len(nodes) - 1)
    first = first[first % each != each - 1]
    np.savez(
        folder / "XPRESS_training_skels.npz", ids=np.arange(len(starts)), vertices_nm=nodes,
        edges=np.stack((first, first + 1), 1), vertex_offset=np.arange(len(starts) + 1) * each,
    )  # fmt: skip
    (folder / "made").touch()


if __name__ == "__main__":
    main()
