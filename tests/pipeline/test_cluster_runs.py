"""Commands on real worker processes: the same arrays as in one process."""

import json
import time

import numpy as np
import pytest

from connectomics.blockwise.cluster import connect
from connectomics.blockwise.grid import Grid
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.progress import Silent
from connectomics.blockwise.run import run_blocks
from connectomics.cli.main import run
from connectomics.errors import RunFailed
from connectomics.io.opening import open_volume
from tests.dask_processes import cluster
from tests.pipeline.test_segment import assert_same, clean, command  # noqa: F401

BLOCK = ["--block", "32", "32", "32", "--threads", "1"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("dask")) as (address, _):
        yield address


def test_a_scheduler_that_is_killed_ends_the_run_and_another_goes_on(tmp_path):
    grid, ledger = Grid((4, 4, 8), (2, 2, 2)), Ledger(tmp_path / "ledger")
    with (
        cluster(tmp_path / "first") as (address, processes),
        connect(address) as pool,
    ):

        def work(block):
            time.sleep(0.2)

        def kill(*arguments):
            processes[0].kill()

        watcher = Silent()
        watcher.advance = kill
        with pytest.raises(RunFailed, match="the cluster was lost"):
            run_blocks("step", grid, work, ledger, pool=pool, progress=watcher)
    assert 1 <= len(ledger.done("step")) < len(grid)
    run_blocks("step", grid, work, ledger)
    assert len(ledger.done("step")) == len(grid)


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


def test_evaluate_on_a_cluster_gives_the_scores_of_one_process(address, clean, tmp_path):  # noqa: F811
    labels, truth = f"{clean}/labels/segmentation", f"{clean}/labels/fragments"
    reports = {}
    for name, more in (("here", []), ("there", ["--cluster", address])):
        report = tmp_path / f"{name}.json"
        assert run(["evaluate", labels, truth, "--worst", "3", *more, "--json", str(report), "--quiet"]) == 0
        reports[name] = json.loads(report.read_text())
    assert reports["here"] == reports["there"]
    assert reports["here"]["voi_merge"] > 0
