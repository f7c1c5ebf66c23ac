#!/usr/bin/env python3
"""What a block costs on a Dask cluster, ledger included, over what bare dask.distributed takes for a no-op.

    scripts/benchmark_cluster.py [--blocks 10000] [--workers 2] [--memory-blocks 1000 100000]

Both run as many no-ops through the same workers, one after the other. With --memory-blocks, also the
memory of this process (client and scheduler) after runs of those sizes.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import psutil

from connectomics.blockwise.cluster import connect
from connectomics.blockwise.grid import Grid
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.run import run_blocks


def nothing(block: object) -> None:
    """Do nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--blocks", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-blocks", type=int, nargs="*", default=[])
    options = parser.parse_args()
    with connect(f"local:{options.workers}") as pool, tempfile.TemporaryDirectory() as folder:
        ours(pool, 200, Path(folder) / "warm")
        bare = bare_seconds(pool.client, options.blocks)
        seconds = ours(pool, options.blocks, Path(folder) / "ledger")
        report = {
            "blocks": options.blocks,
            "bare_ms_per_block": 1000 * bare / options.blocks,
            "ours_ms_per_block": 1000 * seconds / options.blocks,
            "ratio": seconds / bare,
            "client_and_scheduler_bytes": {
                count: (ours(pool, count, Path(folder) / f"{count}"), psutil.Process().memory_info().rss)[1]
                for count in options.memory_blocks
            },
        }
    print(json.dumps(report, indent=1))


def ours(pool, count: int, folder: Path) -> float:
    grid = Grid((1, 1, count), (1, 1, 1))
    began = time.perf_counter()
    run_blocks("nothing", grid, nothing, Ledger(folder), pool=pool)
    return time.perf_counter() - began


def bare_seconds(client, count: int) -> float:
    """Seconds of `count` no-ops, submitted one by one and gathered as they end, a thousand in flight."""
    from distributed import as_completed

    began = time.perf_counter()
    queue = iter(range(count))
    first = [client.submit(nothing, next(queue), pure=False) for _ in range(min(1000, count))]
    running = as_completed(first, loop=client.loop)
    for future in running:
        future.result()
        number = next(queue, None)
        if number is not None:
            running.add(client.submit(nothing, number, pure=False))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
