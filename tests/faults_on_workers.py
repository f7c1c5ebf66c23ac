"""Loaded by Dask workers (--preload): makes them die, hang or starve when a block reaches them.

The environment's FAULT is a JSON object: `kind`, the `module` whose block functions are hit, the number of
the `block`, the `folder` where each time that it struck leaves a file, and how many `times` it strikes.
"""

import json
import os
import resource
import signal
import time
from pathlib import Path

FAULT = json.loads(os.environ.get("FAULT", "{}"))
HUNGER = 1_500_000_000
"""Bytes that a block asks for, under the faults "memory" and "refused"."""


def dask_setup(worker):
    """Called by Dask when the worker starts."""
    if not FAULT:
        return
    from connectomics.blockwise.run import Timed

    honest = Timed.__call__

    def call(self, block):
        if FAULT["module"] in (self.function.__module__, type(self.function).__module__):
            struck = len(list(Path(FAULT["folder"]).iterdir()))
            if block.number == FAULT["block"] and struck < FAULT["times"]:
                (Path(FAULT["folder"]) / f"{os.getpid()}-{time.time_ns()}").touch()
                strike(FAULT["kind"])
        return honest(self, block)

    Timed.__call__ = call


def strike(kind):
    """What happens to the worker, once."""
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "hangs":
        time.sleep(600)
    elif kind == "stopped":  # the whole process: no heartbeat either
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "memory":
        starve()
    elif kind == "refused":
        be_refused()
    else:
        raise AssertionError(kind)


def starve():
    """Fill memory as a block that is too large would, until the nanny of a worker with a limit kills it."""
    held = bytearray(HUNGER)
    for start in range(0, HUNGER, 4096):
        held[start] = 1
    time.sleep(60)


def be_refused():
    """Ask for memory that the system does not give."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + HUNGER // 2, before[1]))
    try:
        bytearray(HUNGER)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
