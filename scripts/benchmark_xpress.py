#!/usr/bin/env python3
"""Time and memory of `connectomics score` and `connectomics submit`, each as a process of its own.

    scripts/benchmark_xpress.py FOLDER [--score submission.h5 skeletons.npz] [--repeats 5]

`submit` packs a drawn segmentation of 1200^3 voxels at 33 nm, which is kept in FOLDER.
Memory is the maximum over time of the summed PSS of the command and its descendants.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from connectomics.blockwise.peak import PeakMemory

EDGE, SLAB = 1200, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--score", nargs=2, metavar=("SUBMISSION", "SKELETONS"))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    report = {}
    if options.score:
        submission, skeletons = options.score
        runs = [measure("score", submission, "--skeletons", skeletons) for _ in range(options.repeats)]
        report["score"] = summary(runs)
    drawn = draw(options.folder / "drawn.h5")
    report["submit"] = summary([measure("submit", drawn, str(options.folder / "out.zip"), "--overwrite")])
    print(json.dumps(report, indent=1))


def draw(path: Path) -> str:
    """Columns of 40 voxels a side, in thirds along z."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            data = file.create_dataset(
                "seg", (EDGE,) * 3, "u8", chunks=(64,) * 3, compression="gzip", compression_opts=1
            )
            data.attrs["resolution"], data.attrs["offset"] = (33,) * 3, (0,) * 3
            y, x = np.ogrid[:EDGE, :EDGE]
            for low in range(0, EDGE, SLAB):
                z = np.arange(low, min(EDGE, low + SLAB))[:, None, None]
                data[low : low + SLAB] = 1 + (y // 40) * 30 + x // 40 + (z // 400) * 1000
    return f"{path}/seg"


def measure(*arguments: str) -> dict[str, float]:
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "connectomics.cli.main", *arguments, "--quiet"])
    with PeakMemory(process.pid) as memory:
        code = process.wait()
    if code:
        sys.exit(f"{arguments[0]} failed with exit code {code}")
    return {"seconds": time.perf_counter() - began, "peak_bytes": memory.peak_bytes}


def summary(runs: list[dict[str, float]]) -> dict[str, float]:
    seconds = [run["seconds"] for run in runs]
    return {
        "runs": len(runs),
        "median_seconds": round(statistics.median(seconds), 2),
        "spread_seconds": round(max(seconds) - min(seconds), 2),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
    }


if __name__ == "__main__":
    main()
