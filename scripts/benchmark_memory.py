#!/usr/bin/env python3
"""Peak memory of `connectomics segment` on phantoms of growing size: it must not grow with the volume.

    scripts/benchmark_memory.py FOLDER [--sizes 256 512] [--memory 4GB]

Memory is the maximum over time of the summed PSS of the command and its descendants, sampled every 100 ms.
Phantoms (seed 2001) and results are kept in FOLDER.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from connectomics.blockwise.peak import PeakMemory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512])
    parser.add_argument("--model", default="phantom-xnh")
    parser.add_argument("--memory", default="4GB")
    options = parser.parse_args()
    rows = [measure(options, size) for size in options.sizes]
    ratios = [round(row["peak_bytes"] / rows[0]["peak_bytes"], 3) for row in rows]
    print(json.dumps({"memory": options.memory, "runs": rows, "peak_over_first": ratios}, indent=1))


def measure(options: argparse.Namespace, size: int) -> dict[str, float]:
    phantom, out = options.folder / f"phantom{size}.zarr", options.folder / f"segmented{size}.zarr"
    edge = [str(size)] * 3
    connectomics("phantom", str(phantom), "--shape", *edge, "--seed", "2001", "--truth", "--quiet")
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    arguments = ["segment", str(phantom / "xray"), str(out), "--model", options.model]
    arguments += ["--memory", options.memory, "--keep-affinities", "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "connectomics.cli.main", *arguments])
    with PeakMemory(process.pid) as memory:
        code = process.wait()
    if code:
        sys.exit(f"segment failed with exit code {code}")
    seconds = time.perf_counter() - began
    return {"edge": size, "peak_bytes": memory.peak_bytes, "seconds": round(seconds, 1)}


def connectomics(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "connectomics.cli.main", *arguments], check=True)


if __name__ == "__main__":
    main()
