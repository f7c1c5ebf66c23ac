"""Peak memory counts what was held for a while, in this process and in its children."""

import subprocess
import sys

import numpy as np
import psutil

from connectomics.blockwise.peak import SAMPLE_SECONDS, PeakMemory, tree_bytes

SIZE = 200_000_000


def test_memory_that_is_given_back_counts():
    before = tree_bytes(psutil.Process())
    with PeakMemory() as memory:
        held = np.ones(SIZE, np.uint8)
        while memory.peak_bytes < before + 0.9 * SIZE:
            held += 1
        del held
    assert memory.peak_bytes < before + 2 * SIZE
    assert tree_bytes(psutil.Process()) < memory.peak_bytes


def test_children_count():
    program = f"x = bytearray(b'1') * {SIZE}; print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        with PeakMemory() as memory:
            pass
        assert memory.peak_bytes > tree_bytes(psutil.Process(child.pid)) > 0.9 * SIZE
        child.communicate("\n")


def test_a_process_that_is_gone_holds_nothing():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = psutil.Process(child.pid)
    child.communicate(b"\n")
    assert tree_bytes(process) == 0


def test_the_watch_ends_with_the_body():
    with PeakMemory() as memory:
        pass
    assert memory.peak_bytes > 0
    assert not memory._thread.is_alive()
    assert SAMPLE_SECONDS <= 0.1
