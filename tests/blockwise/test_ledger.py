"""The ledger survives crashes: records are whole or absent, the last attempt counts."""

import json

import numpy as np
import pytest

from connectomics.blockwise.ledger import Ledger


def test_what_is_done_and_what_failed(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.empty and ledger.done("step") == set()
    failure = ledger.mark_failed("step", 7, "block 7", ValueError("bad voxels"))
    assert (failure.block, failure.error) == (7, "ValueError: bad voxels")
    assert ledger.failures("step") == [failure]
    assert ledger.empty, "a failed block is not a done one"
    ledger.mark_done("step", 3, "block 3", 0.5)
    assert ledger.done("step") == {3}
    assert not ledger.empty
    assert ledger.done("other") == set()


def test_the_last_attempt_counts(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.mark_failed("step", 1, "block 1", OSError("gone"))
    ledger.mark_done("step", 1, "block 1", 0.1)
    assert (ledger.done("step"), ledger.failures("step")) == ({1}, [])
    ledger.mark_failed("step", 1, "block 1", OSError("gone"))
    assert (ledger.done("step"), len(ledger.failures("step"))) == (set(), 1)


def test_a_failure_keeps_its_traceback(tmp_path):
    ledger = Ledger(tmp_path)
    try:
        raise ValueError("bad voxels")
    except ValueError as error:
        ledger.mark_failed("step", 0, "block 0", error)
    (record,) = ledger.records("step")
    assert "test_ledger" in record["traceback"] and "bad voxels" in record["traceback"]


def test_records_come_in_block_order_over_many_folders(tmp_path):
    ledger = Ledger(tmp_path)
    numbers = [2500, 3, 999, 1000, 1]
    for number in numbers:
        ledger.mark_done("step", number, f"block {number}", 0.1)
    assert [record["block"] for record in ledger.records("step")] == sorted(numbers)
    assert len(list((tmp_path / "step").iterdir())) == 3


def test_another_process_sees_the_same(tmp_path):
    Ledger(tmp_path).mark_done("step", 4, "block 4", 0.1)
    assert Ledger(str(tmp_path)).done("step") == {4}


@pytest.mark.parametrize("damage", [b"", b"{", b'{"status": "do', b"\xff\xfe"])
def test_a_damaged_record_counts_as_none(tmp_path, damage):
    ledger = Ledger(tmp_path)
    ledger.mark_done("step", 4, "block 4", 0.1)
    next(tmp_path.glob("step/*/*.json")).write_bytes(damage)
    assert ledger.done("step") == set()


def test_a_step_whose_records_nobody_would_find_is_refused(tmp_path):
    ledger = Ledger(tmp_path)
    for record in (
        lambda: ledger.mark_done("labels/truth", 0, "block 0", 0.1),
        lambda: ledger.mark_failed("labels/truth", 0, "block 0", OSError("gone")),
        lambda: ledger.save_table("labels/truth", 0, sizes=np.zeros(1)),
        lambda: ledger.note("plan-labels/truth", {}),
    ):
        with pytest.raises(ValueError, match="labels/truth"):
            record()
    assert not any(tmp_path.iterdir())


def test_a_step_that_is_forgotten_is_to_be_done_again(tmp_path):
    ledger = Ledger(tmp_path)
    for step in ("edges", "labels"):
        ledger.mark_done(step, 3, "block 3", 0.5)
        ledger.save_table(step, 3, sizes=np.zeros(1))
    ledger.forget("edges")
    ledger.forget("never begun")
    assert (ledger.done("edges"), ledger.done("labels")) == (set(), {3})
    with pytest.raises(FileNotFoundError):
        ledger.load_table("edges", 3)
    assert ledger.load_table("labels", 3)


def test_no_half_written_file_is_left(tmp_path):
    ledger = Ledger(tmp_path)
    with pytest.raises(TypeError):
        ledger.note("name", {"value": object()})
    ledger.note("name", {"value": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["name.json"]
    assert json.loads((tmp_path / "name.json").read_text()) == {"value": 1}


def test_notes(tmp_path):
    ledger = Ledger(tmp_path)
    assert ledger.noted("mean") is None
    ledger.note("mean", [1.5, 2])
    assert ledger.noted("mean") == [1.5, 2]


def test_tables_keep_arrays_exactly_until_dropped(tmp_path):
    ledger = Ledger(tmp_path)
    arrays = {"keys": np.array([2**63 + 1], np.uint64), "sizes": np.zeros((0, 3), np.int16)}
    ledger.save_table("edges", 5, **arrays)
    loaded = ledger.load_table("edges", 5)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype and loaded[name].shape == array.shape
    ledger.mark_done("edges", 5, "block 5", 0.1)
    ledger.drop_tables("edges")
    assert ledger.done("edges") == {5}
    with pytest.raises(FileNotFoundError):
        ledger.load_table("edges", 5)
