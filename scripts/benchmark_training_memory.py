#!/usr/bin/env python3
"""Memory of a training of the make-up of XPRESS: bytes for each voxel of the volume, and for each of a block.

    scripts/benchmark_training_memory.py FOLDER [--edges 200 400] [--block-edges 112 176]

It runs data/recipes/xpress.toml, with a small network and one round of pseudo labels, on made-up volumes:
bright bars, a skeleton in each, one in 200 voxels painted. What grows with the volume is the slope of the
peak between two sizes with nothing done to blocks; what grows with a block (of tubes, of a round) the slope
where one block holds all. Memory is the maximum over time of the summed PSS of the process.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

from connectomics.blockwise.peak import PeakMemory

RECIPE = Path(__file__).parents[1] / "data/recipes/xpress.toml"
SIZE, PITCH = 33, 16
XPRESS, BLOCK = 1200, 320 + 2 * 48
WITHOUT_BLOCKS = """
import sys
import numpy as np
from connectomics.training import rounds, targets, train, truth, tubes
rounds._BLOCK = tubes._BLOCK = 96
truth._REACH, targets._SLAB_VOXELS = 16, 2**20
tubes._tubes = lambda traces, raw, *_: np.where(raw > 150, traces.max(), 0)
rounds.predict_source = lambda network, source, divisor, channels: np.zeros((3, 1, 1, 1), np.uint8)
rounds.pseudo_labels = lambda affinities, offsets, traces, settings: np.maximum(traces, 0)
sys.exit(train.main(sys.argv[1:]))
"""
"""A training with nothing done to a block, so that what is held of the whole volume shows."""
ONE_BLOCK = """
import functools, sys
from connectomics.training import rounds, train
rounds.predict_source = functools.partial(rounds.predict_source, tile=64)
sys.exit(train.main(sys.argv[1:]))
"""
"""A training whose volume is one block; the tiles of the network are small, for they do not grow with it."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edges", type=int, nargs=2, default=[200, 400])
    parser.add_argument("--block-edges", type=int, nargs=2, default=[112, 176])
    options = parser.parse_args()
    voxel = slope(options.folder, options.edges, WITHOUT_BLOCKS)
    block = slope(options.folder, options.block_edges, ONE_BLOCK)
    print(
        f"{voxel:.1f} bytes for each voxel of the volume, "
        f"{block - voxel:.0f} for each of a block and its context"
    )
    print(
        f"{XPRESS}^3: {(voxel * XPRESS**3 + (block - voxel) * BLOCK**3) / 1e9:.0f} GB and the network's own"
    )


def slope(folder: Path, edges: list[int], program: str) -> float:
    low, high = (peak(folder / str(edge), edge, program) for edge in edges)
    return (high - low) / (edges[1] ** 3 - edges[0] ** 3)


def peak(folder: Path, edge: int, program: str) -> int:
    if not (folder / "made").exists():
        make(folder, edge)
    changes = {
        "data.root": str(folder), "steps": 4, "crop": "[32, 32, 32]", "batch": 1, "device": "cpu",
        "truth.rounds": 1, "network.parameters.filters": "[4, 8, 8]", "checkpoint_every": 1000,
    }  # fmt: skip
    arguments = [text for key, value in changes.items() for text in ("--set", f"{key}={value}")]
    name = "one-block" if program is ONE_BLOCK else "without-blocks"
    run = folder / name
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(RECIPE), "--output", str(run), *arguments],
        stderr=subprocess.DEVNULL,
    )
    with PeakMemory(process.pid) as memory:
        code = process.wait()
    if code or not (run / "pseudo-1.npz").exists():
        sys.exit(f"{run}: the training failed, or was there before; remove it")
    print(f"{edge}^3, {name}: {memory.peak_bytes / 1e9:.2f} GB", flush=True)
    return memory.peak_bytes


def make(folder: Path, edge: int) -> None:
    """Bars along z, dark walls between them; files named and laid out as the challenge's."""
    folder.mkdir(parents=True)
    place = {"resolution": (SIZE,) * 3, "offset": (0,) * 3}
    across = np.arange(edge) % PITCH
    bar = (across >= 3)[:, None] & (across >= 3)[None]
    number = (np.arange(edge) // PITCH)[:, None] * (edge // PITCH + 1) + np.arange(edge) // PITCH + 1
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
