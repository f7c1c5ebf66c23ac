"""Dask workers, real processes: what a thread would have done, and what if a worker dies or hangs."""

import logging
import os
import sys
import time

import cloudpickle
import dask
import pytest

from connectomics.blockwise.cluster import QUIET_ENVIRONMENT, connect
from connectomics.blockwise.grid import Grid
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.run import run_blocks
from connectomics.errors import InputError, RunFailed, SettingsError
from tests.dask_processes import cluster

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests

GRID = Grid((4, 4, 4), (2, 2, 2))


@pytest.fixture(scope="module")
def two_workers():
    with connect("local:2", patience=2.0) as pool:
        yield pool


def note(folder):
    """A block function that leaves the worker's process number in a file."""

    def work(block):
        (folder / f"{block.number}").write_text(str(os.getpid()))

    return work


def test_blocks_are_worked_on_by_other_processes(two_workers, tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    run_blocks("step", GRID, note(tmp_path), ledger, pool=two_workers)
    pids = {int((tmp_path / f"{number}").read_text()) for number in range(8)}
    assert len(pids) == 2 and os.getpid() not in pids
    assert ledger.done("step") == set(range(8))


def test_a_failing_block_is_named(two_workers, tmp_path):
    def work(block):
        if block.number == 3:
            raise ValueError("bad voxels")

    with pytest.raises(RunFailed, match=r"1 of 8 blocks failed: block 3 .*ValueError: bad voxels"):
        run_blocks("step", GRID, work, Ledger(tmp_path), pool=two_workers)


def test_a_worker_that_is_killed_gives_its_block_to_another(two_workers, tmp_path):
    def work(block):
        if block.number == 5 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), 9)
        note(tmp_path)(block)

    ledger = Ledger(tmp_path / "ledger")
    run_blocks("step", GRID, work, ledger, pool=two_workers)
    assert (tmp_path / "killed").exists() and ledger.done("step") == set(range(8))


def test_a_worker_that_hangs_loses_its_block_to_another(two_workers, tmp_path, caplog):
    def work(block):
        if block.number == 2 and not (tmp_path / "hung").exists():
            (tmp_path / "hung").touch()
            time.sleep(15)
        note(tmp_path)(block)

    began = time.monotonic()
    caplog.set_level(logging.WARNING, "connectomics")
    ledger = Ledger(tmp_path / "ledger")
    run_blocks("step", GRID, work, ledger, pool=two_workers)
    assert (tmp_path / "hung").exists() and ledger.done("step") == set(range(8))
    assert time.monotonic() - began < 14, "nobody waited for the one that hung"
    assert "given to another worker" in caplog.text


def hang_until(file):
    """Wait for a file that appears when the run is over, long enough to fail where the run waits for us."""
    for _ in range(600):
        if file.exists():
            return
        time.sleep(0.1)
    raise AssertionError("the run waited for the worker that hung")


def test_a_worker_that_hangs_gets_no_more_blocks(two_workers, tmp_path):
    """Were it given more, each of them would be waited for as long as the first, or for ever."""
    grid = Grid((1, 1, 40), (1, 1, 1))

    def work(block):
        if block.number == 2:
            (tmp_path / f"tried by {os.getpid()}").touch()
            if len(list(tmp_path.glob("tried*"))) == 1:
                hang_until(tmp_path / "over")
        time.sleep(0.05)
        note(tmp_path)(block)

    ledger = Ledger(tmp_path / "ledger")
    run_blocks("step", grid, work, ledger, pool=two_workers)
    (tmp_path / "over").touch()
    assert ledger.done("step") == set(range(40))
    assert len(list(tmp_path.glob("tried*"))) == 2


def test_a_block_that_kills_is_named_and_no_other_is_blamed(tmp_path):
    """With one worker, what waits there is as much under suspicion as what killed it."""
    ledger = Ledger(tmp_path / "ledger")

    def work(block):
        if block.number == 3:
            with (tmp_path / "killed").open("a") as file:
                file.write("x")
            os.kill(os.getpid(), 9)

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        connect("local:1") as pool,
        pytest.raises(RunFailed, match=r"1 of 8 blocks failed: block 3 .*every worker that had it died"),
    ):
        run_blocks("step", GRID, work, ledger, pool=pool)
    assert ledger.done("step") == set(range(8)) - {3}
    assert (tmp_path / "killed").read_text() == "x" * 4  # two tries in company and two alone, no more


def test_when_no_worker_is_left_the_run_ends(tmp_path):
    with cluster(tmp_path, workers=1) as (address, _), connect(address, patience=1.0) as pool:

        def work(block):
            os.kill(os.getpid(), 9)

        with pytest.raises(RunFailed, match="no worker is left"):
            run_blocks("step", GRID, work, Ledger(tmp_path / "ledger"), pool=pool)


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        ("local:0", "expected a number of workers"),
        ("local:many", "expected a number of workers"),
        ("slurm", "expected local:N, tcp"),
        ("missing.toml", "cannot be read"),
    ],
)
def test_what_is_no_cluster(cluster, why):
    with pytest.raises(InputError, match=why), connect(cluster):
        pass


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr("connectomics.blockwise.cluster.ANSWER_SECONDS", 0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers"), connect("tcp://127.0.0.1:9"):
        pass


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("queue = ", "cannot be read"),
        ("jobs = 2", "expected the keys queue"),
        ("queue = 'slrum'", "Did you mean 'slurm'"),
        ("queue = 'slurm'\nnodes = 3", "expected the keys queue, jobs and options, got nodes, queue"),
    ],
)
def test_what_is_no_queue(tmp_path, text, why):
    (tmp_path / "queue.toml").write_text(text)
    with pytest.raises(SettingsError, match=why), connect(f"{tmp_path}/queue.toml"):
        pass


STANDS_IN_FOR_SBATCH = """#!/bin/sh
# takes a job script, starts it here, and answers as SLURM does
cp "$1" "{folder}/job.sh"
setsid sh "{folder}/job.sh" >"{folder}/job.log" 2>&1 &
echo $! >>"{folder}/jobs"
echo "Submitted batch job $!"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder on the path with `sbatch` and `scancel` that start and stop workers on this machine."""
    scripts = {
        "sbatch": STANDS_IN_FOR_SBATCH.format(folder=tmp_path),
        "scancel": '#!/bin/sh\nfor job in "$@"; do kill -- -"$job" 2>/dev/null; done\ntrue\n',
    }
    for name, text in scripts.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # dask-jobqueue's own, and of sockets that its workers leave
def test_workers_come_from_slurm(slurm):
    options = f'cores = 1\nmemory = "1GB"\nprocesses = 1\ninterface = "lo"\nlog_directory = "{slurm}"'
    text = f'queue = "slurm"\njobs = 1\n[options]\n{options}\nlocal_directory = "{slurm}"\n'
    text += 'scheduler_options = { dashboard_address = ":0" }\n'
    (slurm / "queue.toml").write_text(text)
    with connect(f"{slurm}/queue.toml") as pool:
        ledger = Ledger(slurm / "ledger")
        run_blocks("step", GRID, note(slurm), ledger, pool=pool)
    assert (slurm / "jobs").read_text().strip().isdigit()
    assert ledger.done("step") == set(range(8))
    assert (slurm / "0").read_text() != str(os.getpid())
    assert all(f"export {name}=" in (slurm / "job.sh").read_text() for name in QUIET_ENVIRONMENT)
