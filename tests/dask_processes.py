"""A Dask scheduler and workers, each a process started by its own command, as on a cluster."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

FAULTS = Path(__file__).parent / "faults_on_workers.py"


@contextmanager
def cluster(folder, *, workers=2, nanny=False, fault=None, memory_limit="0"):
    """Start them for the time of a test or of a benchmark.

    With `fault` (see `tests/faults_on_workers.py`), the workers meet it. Yields the scheduler's address, and
    the processes, the scheduler first.
    """
    folder.mkdir(exist_ok=True, parents=True)
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "FAULT": json.dumps(fault or {})}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    dask = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--port",
        "0",
        "--dashboard-address",
        ":0",
    ]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1"]
    worker += ["--memory-limit", memory_limit, "--nanny" if nanny else "--no-nanny"]
    worker += ["--preload", str(FAULTS)] if fault else []
    processes = [subprocess.Popen([*dask, *common], **quiet)]
    try:
        for number in range(workers):
            local = ["--local-directory", str(folder / f"worker{number}")]
            processes.append(subprocess.Popen([*worker, *local, *common], **quiet))
        yield _address(file), processes
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(file):
    """What the scheduler says of itself, once it does."""
    for _ in range(600):
        if file.exists() and file.read_text():
            break
        time.sleep(0.1)
    return json.loads(file.read_text())["address"]
