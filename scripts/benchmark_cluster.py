#!/usr/bin/env python3
"""What running blocks on a Dask cluster costs: overhead, memory, speed-up. Prints JSON.

    scripts/benchmark_cluster.py [overhead] [memory] [speedup] [--blocks 10000] [--memory-blocks 1000 100000]
                                 [--kernels 16] [--edge 128] [--repeats 5]

overhead  milliseconds a block, ledger on the local disk included, over those of bare dask.distributed no-ops
          that are submitted with the same window (two a worker), through the same workers, in the same run.
memory    peak PSS of the scheduler's process and of the client's, fresh ones for each number of blocks; also
          the anonymous part, which alone does not hang on who else has the same libraries mapped.
speedup   time of as many kernels (fragments of a block of noise) on one worker over that on two, beside
          what two bare processes show; median of the repeats, which take turns. One thread each. Beside it,
          seconds of one kernel: a block costs the client and the scheduler about 4 ms, and these share the
          cores with the workers here, so blocks far smaller than those of `segment` measure that instead.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from connectomics.affinities import NEAREST
from connectomics.blockwise.cluster import QUIET_ENVIRONMENT, connect
from connectomics.blockwise.grid import Grid
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.peak import PeakMemory
from connectomics.blockwise.run import run_blocks
from connectomics.segmentation.fragments import block_fragments
from connectomics.segmentation.settings import SegmentationSettings

os.environ["OMP_NUM_THREADS"] = "1"
os.environ |= QUIET_ENVIRONMENT  # as in the clusters that we start ourselves
sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests start Dask's processes as we do
PARTS = ("overhead", "memory", "speedup")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--blocks", type=int, default=10_000)
    parser.add_argument("--memory-blocks", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--kernels", type=int, default=16)
    parser.add_argument("--edge", type=int, default=128, help="of a kernel's block, voxels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--client", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        with connect(options.client[0]) as pool:
            ours(pool, nothing, int(options.client[1]))
    elif options.bare:
        bare_kernels(options.bare, options.edge)
    else:
        measures = {"overhead": overhead, "memory": memory, "speedup": speedup}
        print(json.dumps({part: measures[part](options) for part in options.parts or PARTS}, indent=1))


def nothing(block: object) -> None:
    """Do nothing."""


def ours(pool, work, count: int) -> float:
    """Seconds that `run_blocks` takes, with its ledger on the local disk."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run_blocks("step", Grid((1, 1, count), (1, 1, 1)), work, Ledger(folder), pool=pool)
        return time.perf_counter() - began


def overhead(options: argparse.Namespace) -> dict[str, float]:
    with connect("local:2") as pool:
        ours(pool, nothing, 200)
        bare = bare_noops(pool.client, options.blocks, 2 * pool.size)
        seconds = ours(pool, nothing, options.blocks)
        again = bare_noops(pool.client, options.blocks, 2 * pool.size)
    least, milliseconds = min(bare, again), 1000 / options.blocks
    return {
        "blocks": options.blocks,
        "bare_ms_per_block": round(least * milliseconds, 3),
        "bare_ms_before_and_after": [round(s * milliseconds, 3) for s in (bare, again)],
        "ours_ms_per_block": round(seconds * milliseconds, 3),
        "ratio": round(seconds / least, 3),
    }


def bare_noops(client, count: int, window: int) -> float:
    """Seconds of `count` no-ops, submitted one by one as others end, `window` of them in flight."""
    from distributed import as_completed

    began = time.perf_counter()
    queue = iter(range(count))
    first = [client.submit(nothing, next(queue), pure=False) for _ in range(window)]
    running = as_completed(first, loop=client.loop)
    for future in running:
        future.result()
        number = next(queue, None)
        if number is not None:
            running.add(client.submit(nothing, number, pure=False))
    return time.perf_counter() - began


def memory(options: argparse.Namespace) -> dict[str, object]:
    rows = {}
    for count in options.memory_blocks:
        rows[count] = peaks(count)
        print(json.dumps({count: rows[count]}), file=sys.stderr, flush=True)
    first, last = rows[min(rows)], rows[max(rows)]
    growth = {name: round(last[name] / first[name], 3) for name in first if name != "seconds"}
    return {"blocks": rows, "last_over_first": growth}


def peaks(count: int) -> dict[str, float]:
    from tests.dask_processes import cluster

    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as (address, processes):
        began = time.perf_counter()
        client = subprocess.Popen([sys.executable, __file__, "--client", address, str(count)])
        watched = {"scheduler": processes[0].pid, "client": client.pid}
        peak = {f"{who}_anonymous_bytes": 0 for who in watched}
        with PeakMemory(watched["scheduler"]) as of_scheduler, PeakMemory(watched["client"]) as of_client:
            while client.poll() is None:
                for who, pid in watched.items():
                    name = f"{who}_anonymous_bytes"
                    peak[name] = max(peak[name], anonymous_bytes(pid))
                time.sleep(0.1)
        if client.returncode:
            sys.exit("the client failed")
        found = {"scheduler_bytes": of_scheduler.peak_bytes, "client_bytes": of_client.peak_bytes}
        return found | peak | {"seconds": round(time.perf_counter() - began, 1)}


def anonymous_bytes(pid: int) -> int:
    """What a process holds that no file backs; 0 where it has just ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    return 0


def kernel(block: object, edge: int) -> None:
    """Fragments of a block of noise, the same each time."""
    shape = (edge,) * 3
    noise = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    box = (slice(0, edge),) * 3
    block_fragments(noise, NEAREST, box, (0, 0, 0), shape, SegmentationSettings())


def speedup(options: argparse.Namespace) -> dict[str, object]:
    count, edge = options.kernels, options.edge
    found: dict[str, list[float]] = {"bare": [], "ours": []}
    seconds = []
    for _ in range(options.repeats):
        seconds.append(bare_seconds(1, count, edge))
        found["bare"].append(seconds[-1] / bare_seconds(2, count, edge))
        found["ours"].append(our_seconds(1, count, edge) / our_seconds(2, count, edge))
    median = {name: statistics.median(values) for name, values in found.items()}
    rounded = {name: [round(value, 3) for value in values] for name, values in found.items()}
    return {
        "cores": len(os.sched_getaffinity(0)),
        "seconds_per_kernel": round(statistics.median(seconds) / count, 3),
        "speedup": rounded,
        "median": median,
        "ours_over_bare": round(median["ours"] / median["bare"], 3),
    }


def our_seconds(workers: int, kernels: int, edge: int) -> float:
    work = functools.partial(kernel, edge=edge)
    with connect(f"local:{workers}") as pool:
        ours(pool, work, 4 * workers)  # compiles
        return ours(pool, work, kernels)


def bare_seconds(processes: int, kernels: int, edge: int) -> float:
    command = [sys.executable, __file__, "--bare", str(kernels // processes), "--edge", str(edge)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [subprocess.Popen(command, **pipes) for _ in range(processes)]
    for process in running:
        process.stdout.readline()
    began = time.perf_counter()
    for process in running:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in running:
        process.stdout.readline()
    seconds = time.perf_counter() - began
    for process in running:
        process.communicate()
    return seconds


def bare_kernels(count: int, edge: int) -> None:
    """What a bare process does: compile, wait for the word, work, say so."""
    kernel(None, edge)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(count):
        kernel(None, edge)
    print("done", flush=True)


if __name__ == "__main__":
    main()
