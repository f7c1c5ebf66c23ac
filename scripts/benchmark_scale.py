#!/usr/bin/env python3
"""A large phantom through worker processes: memory of each, rates, and what a cubic millimetre would cost.

    scripts/benchmark_scale.py FOLDER [--edge 1024] [--workers 2] [--memory 5GB]
    scripts/benchmark_scale.py --cost [--network 50] [--post 2] [--gpus 8] [--cores 64]

The first line writes a phantom (seed 2002), segments it with `--cluster local:N` into connected components of
thresholded affinities, and prints seconds (of the wall, and of all cores) and the peak PSS of the command
and of each worker, sampled every 100 ms. Both steps go on where an earlier call stopped. The second prints
hours and bytes for 1 mm^3 at 33 nm (2.8e13 voxels), from the given Mvoxel/s of one GPU and of one core.
"""

import argparse
import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from connectomics.blockwise.peak import SAMPLE_SECONDS, tree_bytes

VOXELS = (1e6 / 33) ** 3
MODEL = "phantom-xnh"


def main() -> None:
    options = parse()
    print(json.dumps(cost(options) if options.cost else measure(options), indent=1))


def measure(options: argparse.Namespace) -> dict:
    phantom, out = (
        options.folder / f"phantom{options.edge}.zarr",
        options.folder / f"scale{options.edge}.zarr",
    )
    edge = [str(options.edge)] * 3
    cluster = ["--cluster", f"local:{options.workers}", "--quiet"]
    made = watched(["phantom", str(phantom), "--shape", *edge, "--seed", "2002", *cluster])
    found = watched(
        [
            *("segment", str(phantom / "xray"), str(out), "--model", MODEL, "--memory", options.memory),
            *("--fragments", "components", "--boundary-threshold", str(options.threshold), *cluster),
        ]
    )
    return {"edge": options.edge, "memory": options.memory, "phantom": made, "segment": found}


def watched(arguments: list[str]) -> dict:
    """Seconds and peak memory of a command: in all, and of each process it started."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([sys.executable, "-m", "connectomics.cli.main", *arguments])
    peaks: dict[int, int] = {}
    whole = [0]
    stop = threading.Event()

    def look() -> None:
        root = psutil.Process(process.pid)
        while not stop.wait(SAMPLE_SECONDS):
            whole[0] = max(whole[0], tree_bytes(root))
            try:
                children = root.children()
            except psutil.NoSuchProcess:
                return
            for child in children:
                peaks[child.pid] = max(peaks.get(child.pid, 0), tree_bytes(child))

    thread = threading.Thread(target=look)
    thread.start()
    code = process.wait()
    stop.set()
    thread.join()
    if code:
        sys.exit(f"{arguments[0]} failed with exit code {code}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_bytes": whole[0],
        "peak_bytes_of_children": sorted(peaks.values(), reverse=True),
    }


def cost(options: argparse.Namespace) -> dict:
    """What 1 mm^3 takes; every product is in the keys."""
    gpu_hours = VOXELS / (options.network * 1e6) / 3600
    core_hours = VOXELS / (options.post * 1e6) / 3600
    return {
        "voxels": f"{VOXELS:.3g} = (1 mm / 33 nm)^3",
        "gpu_hours": f"{gpu_hours:.0f} = voxels / {options.network:g} Mvoxel/s",
        "days_on_gpus": f"{gpu_hours / options.gpus / 24:.1f} on {options.gpus}",
        "core_hours": f"{core_hours:.0f} = voxels / {options.post:g} Mvoxel/s",
        "days_on_cores": f"{core_hours / options.cores / 24:.1f} on {options.cores}",
        "raw_terabytes": f"{VOXELS / 1e12:.0f} = voxels x 1 byte, uncompressed",
        "affinity_terabytes": f"{3 * VOXELS / 1e12:.0f} = voxels x 3 channels x 1 byte, uncompressed",
        "label_terabytes": f"{2 * 8 * VOXELS / 1e12:.0f} = voxels x (fragments + segmentation) x 8 bytes, "
        "uncompressed; labels compress 50 to 200 fold",
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/scale"))
    parser.add_argument("--edge", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="5GB")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--network", type=float, default=50.0, help="Mvoxel/s of the network on one GPU")
    parser.add_argument("--post", type=float, default=2.0, help="Mvoxel/s of the other steps on one core")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--cores", type=int, default=64)
    return parser.parse_args()


if __name__ == "__main__":
    main()
