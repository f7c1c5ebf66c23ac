"""What `status` says of a run: done, failed, how long, whether it is live."""

import time

import pytest

from connectomics.blockwise.grid import Grid
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.lock import Lock
from connectomics.blockwise.run import run_blocks
from connectomics.blockwise.status import read_status
from connectomics.errors import InputError
from connectomics.io.files import write_json


@pytest.fixture
def out(tmp_path):
    """An output with a finished and an unfinished command."""
    segment, phantom = (Ledger(tmp_path / "ledger" / name) for name in ("segment", "phantom"))
    for number, seconds in enumerate([1.0, 4.0, 2.0, 3.0, 9.0]):
        segment.mark_done("fragments", number, f"block {number}", seconds)
    segment.mark_failed("fragments", 5, "block 5", ValueError("bad voxels"))
    phantom.note("complete", {"output": "x"})
    return tmp_path


def test_blocks_and_times(out):
    report = read_status(out)
    assert report["phantom"] == "complete"
    assert report["segment"] == "not complete"
    step = report["segment / fragments"]
    assert (step["done"], step["failed"]) == (5, ["block 5"])
    assert step["median_seconds"] == 3.0
    assert step["slowest"] == ["block 4: 9.0 s", "block 1: 4.0 s", "block 3: 3.0 s"]


def test_a_step_without_a_finished_block_has_no_times(tmp_path):
    Ledger(tmp_path / "ledger/segment").mark_failed("edges", 0, "block 0", ValueError("bad"))
    assert read_status(tmp_path)["segment / edges"] == {"done": 0, "failed": ["block 0"]}


def test_only_a_live_run_is_live(out):
    assert read_status(out)["live"] is False
    lock = out / "ledger/lock.json"
    with Lock(lock):
        assert read_status(out)["live"] is True
    write_json(lock, {"host": "elsewhere", "pid": 1, "start": 0, "heartbeat": 0})
    assert read_status(out)["live"] is False, "a run that died is not live"


def test_a_place_without_runs_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run has been recorded"):
        read_status(tmp_path)
    with pytest.raises(InputError, match="no run has been recorded"):
        read_status(tmp_path / "missing")


def test_how_much_is_left_and_at_what_rate(tmp_path):
    ledger = Ledger(tmp_path / "ledger" / "segment")

    def work(block):
        time.sleep(0.01)
        if block.number == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_blocks("edges", Grid((4, 4, 4), (2, 2, 2)), work, ledger)
    found = read_status(tmp_path)["segment / edges"]
    assert found["blocks"] == 8 and found["done"] == 6
    assert 0 < found["blocks_per_second"] < 100
    assert found["seconds_left"] == pytest.approx(2 / found["blocks_per_second"], abs=1)
