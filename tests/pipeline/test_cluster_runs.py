"""Commands on real worker processes: the same arrays as in one process."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

from connectomics.cli.main import run
from connectomics.io.opening import open_volume
from tests.pipeline.test_segment import assert_same, clean, command  # noqa: F401

BLOCK = ["--block", "32", "32", "32", "--threads", "1"]


@contextmanager
def scheduler_with_two_workers(folder):
    """A Dask scheduler and two workers, each a process started by its own command, as on a cluster."""
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    dask = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--port",
        "0",
        "--dashboard-address",
        ":0",
        *common,
    ]
    worker = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        "--nthreads",
        "1",
        "--no-dashboard",
        *common,
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(dask, **quiet)]
    try:
        for number in range(2):
            local = ["--local-directory", str(folder / f"worker{number}"), "--no-nanny"]
            processes.append(subprocess.Popen([*worker, *local], **quiet))
        yield file
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with scheduler_with_two_workers(tmp_path_factory.mktemp("dask")) as file:
        for _ in range(300):
            if file.exists() and file.read_text():
                break
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]


def test_segment_at_an_address_equals_segment_here(volume, model, clean, address, tmp_path):  # noqa: F811
    out = tmp_path / "out.zarr"
    assert run(command(volume, out, model, *BLOCK, "--cluster", address)) == 0
    assert_same(clean, out)


def test_segment_on_local_workers_equals_segment_here(volume, model, clean, tmp_path):  # noqa: F811
    out = tmp_path / "out.zarr"
    assert run(command(volume, out, model, *BLOCK, "--cluster", "local:2")) == 0
    assert_same(clean, out)


def test_phantom_and_convert_on_a_cluster(address, tmp_path):
    made = {}
    for name, more in (("here", []), ("there", ["--cluster", address])):
        out = tmp_path / f"{name}.zarr"
        shape = ["--shape", "64", "64", "64", "--block", "32", "32", "32"]
        assert run(["phantom", str(out), *shape, "--seed", "2003", *more, "--quiet"]) == 0
        copy = tmp_path / f"{name}-copy.zarr"
        assert run(["convert", f"{out}/xray", str(copy), "--chunk", "32", *more, "--quiet"]) == 0
        made[name] = open_volume(f"{out}/xray").read(), open_volume(copy).read()
    for a, b in zip(*made.values(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(*made["there"])
