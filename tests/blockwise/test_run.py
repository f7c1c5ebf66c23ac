"""Runs resume, name what failed, and do only what is left."""

import errno
import pickle
import threading
import time

import pytest

from connectomics.blockwise.grid import Grid
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.pool import Threads
from connectomics.blockwise.run import map_blocks, run_blocks, run_stream
from connectomics.errors import FormatError, InputError, NoSpaceError, RunFailed

GRID = Grid((4, 4, 4), (2, 2, 2))


@pytest.mark.parametrize("workers", [1, 3])
def test_every_block_runs_once_and_a_rerun_does_nothing(tmp_path, workers):
    ledger, seen = Ledger(tmp_path), []
    run_blocks("step", GRID, lambda block: seen.append(block.number), ledger, pool=Threads(workers))
    assert sorted(seen) == list(range(8))
    run_blocks("step", GRID, lambda block: seen.append(block.number), ledger, pool=Threads(workers))
    assert len(seen) == 8


def test_a_failing_block_is_named_the_others_are_done_and_a_rerun_does_only_it(tmp_path):
    ledger = Ledger(tmp_path)

    def fail_on_three(block):
        if block.number == 3:
            raise ValueError("bad voxels")

    with pytest.raises(RunFailed, match=r"1 of 8 blocks failed: block 3 .*ValueError: bad voxels"):
        run_blocks("step", GRID, fail_on_three, ledger, pool=Threads(2))
    assert ledger.done("step") == {0, 1, 2, 4, 5, 6, 7}
    assert [failure.block for failure in ledger.failures("step")] == [3]
    seen = []
    run_blocks("step", GRID, lambda block: seen.append(block.number), ledger)
    assert seen == [3]
    assert ledger.failures("step") == []


def test_retrying_what_failed_begins_no_other_block_of_the_step(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.mark_done("step", 0, "block 0", 0.1)
    ledger.mark_failed("step", 3, "block 3", ValueError("bad voxels"))
    seen = []
    again = Ledger(tmp_path, failed_only=True)
    with pytest.raises(RunFailed, match="6 others were never begun"):
        run_blocks("step", GRID, lambda block: seen.append(block.number), again)
    assert seen == [3] and ledger.failed_steps == []
    run_blocks(
        "next", GRID, lambda block: seen.append(block.number), again
    )  # nothing failed there: all of it
    assert seen == [3, *range(8)]


@pytest.mark.parametrize("where", ["block", "record"])
def test_a_full_disk_ends_the_run_at_once(tmp_path, monkeypatch, where):
    ledger, seen = Ledger(tmp_path), []
    full = OSError(errno.ENOSPC, "No space left on device")

    def work(block):
        seen.append(block.number)
        if where == "block" and block.number == 2:
            raise full

    def mark(step, number, name, seconds, honest=ledger.mark_done):
        if where == "record" and number == 2:
            raise full
        honest(step, number, name, seconds)

    monkeypatch.setattr(ledger, "mark_done", mark)
    with pytest.raises(NoSpaceError, match=r"step, block 2 .*No space left"):
        run_blocks("step", GRID, work, ledger)
    assert ledger.done("step") == {0, 1} and len(seen) < 8
    run_blocks("step", GRID, lambda block: seen.append(block.number), Ledger(tmp_path))
    assert ledger.done("step") == set(range(8))


def test_bad_input_in_every_block_is_bad_input(tmp_path):
    def refuse(block):
        raise FormatError("broken file")

    with pytest.raises(InputError, match="broken file"):
        run_blocks("step", GRID, refuse, Ledger(tmp_path))


def test_an_interrupt_keeps_what_is_done(tmp_path):
    ledger = Ledger(tmp_path)

    def interrupt(block):
        if block.number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_blocks("step", GRID, interrupt, ledger)
    assert {0, 1, 2} <= ledger.done("step") < set(range(8))


def test_streams_report_each_block(tmp_path):
    ledger = Ledger(tmp_path)

    def stream(blocks, done, failed):
        for block in blocks:
            if block.number == 2:
                failed(block, OSError("gone"))
            else:
                done(block, 0.1)

    with pytest.raises(RunFailed, match="block 2"):
        run_stream("step", GRID, stream, ledger)
    assert ledger.done("step") == set(range(8)) - {2}


def test_a_damaged_record_means_the_block_is_done_again(tmp_path):
    ledger = Ledger(tmp_path)
    run_blocks("step", GRID, lambda block: None, ledger)
    next((tmp_path / "step").glob("*/*4.json")).write_text("{")
    assert ledger.done("step") == set(range(8)) - {4}


def test_a_run_that_lost_its_output_to_another_stops(tmp_path):
    lost = threading.Event()
    ledger, grid, calls = Ledger(tmp_path, lost=lost), Grid((8, 2, 2), (2, 2, 2)), []

    def work(block):
        calls.append(block.number)
        if block.number == 1:
            lost.set()

    with pytest.raises(RunFailed, match="another run has taken this output over"):
        run_blocks("step", grid, work, ledger)
    assert ledger.done("step") == {0}
    assert pickle.loads(pickle.dumps(ledger)).lost is None


def test_map_blocks_returns_what_each_gives_and_names_the_block_that_fails():
    grid = Grid((8, 2, 2), (2, 2, 2))
    assert sorted(map_blocks("step", grid, lambda block: block.number, Threads(2))) == [0, 1, 2, 3]
    with pytest.raises(RunFailed, match=r"step, block .*: ZeroDivisionError"):
        list(map_blocks("step", grid, lambda block: 1 / (block.number - 2), Threads(2)))


@pytest.mark.parametrize("apart", [(0, 0, 0), (1, 0, 1)])
def test_blocks_whose_writes_would_meet_never_run_together(tmp_path, apart):
    grid, lock, out, met, seen = Grid((4, 4, 8), (1, 2, 2)), threading.Lock(), [], [], []

    def work(block):
        with lock:
            near = [
                all(abs(a - b) <= n for a, b, n in zip(block.index, other.index, (1, 0, 1), strict=True))
                for other in out
            ]
            met.append(any(near))
            out.append(block)
            seen.append(block.number)
        time.sleep(0.003)
        with lock:
            out.remove(block)

    run_blocks("step", grid, work, Ledger(tmp_path), pool=Threads(4), apart=apart)
    assert sorted(seen) == list(range(len(grid)))
    assert any(met) is not any(apart)
