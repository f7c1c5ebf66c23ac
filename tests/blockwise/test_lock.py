"""One live run per output: a live lock refuses, that of a run that is gone is taken over."""

import os
import socket
import subprocess
import sys
import time

import pytest

from connectomics.blockwise import lock as lock_module
from connectomics.blockwise.lock import HEARTBEAT_SECONDS, STALE_SECONDS, Lock, is_held
from connectomics.errors import BusyError
from connectomics.io.files import read_json, write_json


def holder(**changes):
    now = time.time()
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "start": now,
        "heartbeat": now,
    } | changes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger" / "lock.json"


@pytest.fixture(scope="module")
def dead_pid():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lock_is_there_while_held_and_gone_afterwards(path):
    with Lock(path):
        assert is_held(path)
        assert read_json(path)["pid"] == os.getpid()
    assert not path.exists() and not is_held(path)


def test_an_error_gives_the_lock_back(path):
    with pytest.raises(ValueError, match="inside"), Lock(path):
        raise ValueError("inside")
    assert not path.exists()


def test_a_live_run_refuses_another_and_keeps_its_lock(path):
    with Lock(path):
        before = path.read_bytes()
        with pytest.raises(BusyError, match=f"pid {os.getpid()} on {socket.gethostname()}"), Lock(path):
            pass
        assert path.read_bytes() == before
    with Lock(path):
        pass


def test_a_run_on_another_machine_refuses_while_its_heart_beats(path):
    write_json(path, holder(host="elsewhere", pid=1))
    with pytest.raises(BusyError, match="elsewhere"), Lock(path):
        pass
    assert read_json(path)["host"] == "elsewhere"


def test_a_run_that_ended_without_a_word_is_taken_over(path, dead_pid, caplog):
    write_json(path, holder(pid=dead_pid))
    assert not is_held(path)
    with Lock(path):
        assert read_json(path)["pid"] == os.getpid()
    assert "taking over" in caplog.text


@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_a_heart_that_stopped_is_taken_over(path, host):
    write_json(path, holder(host=host, heartbeat=time.time() - STALE_SECONDS - 1))
    assert not is_held(path)
    with Lock(path):
        assert is_held(path)


def test_a_recycled_pid_is_not_the_run(path):
    write_json(path, holder(start=time.time() - 10**9))
    with Lock(path):
        assert read_json(path)["start"] > time.time() - 100


def test_an_empty_lock_is_a_run_that_starts_or_one_that_died_starting(path):
    path.parent.mkdir()
    path.touch()
    with pytest.raises(BusyError, match="just starting"), Lock(path):
        pass
    past = time.time() - HEARTBEAT_SECONDS - 1
    os.utime(path, (past, past))
    with Lock(path):
        assert is_held(path)


def test_the_heart_beats(path, monkeypatch):
    monkeypatch.setattr(lock_module, "HEARTBEAT_SECONDS", 0.01)
    with Lock(path):
        first = read_json(path)["heartbeat"]
        deadline = time.monotonic() + 10
        while read_json(path)["heartbeat"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_run_that_was_taken_over_knows_it_and_leaves_the_lock(path, monkeypatch):
    monkeypatch.setattr(lock_module, "HEARTBEAT_SECONDS", 0.02)
    with Lock(path) as lock:
        assert not lock.lost.is_set()
        deadline = time.monotonic() + 20
        while not lock.lost.wait(0.05):  # a beat may just have been on its way
            write_json(path, holder(host="elsewhere"))
            assert time.monotonic() < deadline
    assert read_json(path)["host"] == "elsewhere"


def test_of_two_that_find_a_run_gone_one_takes_over(path, dead_pid, monkeypatch):
    write_json(path, holder(pid=dead_pid, heartbeat=0.0))
    refused, asked = [], lock_module.alive

    def another_comes(found):
        gone = not asked(found)
        if gone and not refused:  # just now, a second run looks, too
            refused.append(True)
            with pytest.raises(BusyError, match="just starting"), Lock(path):
                pass
        return not gone

    monkeypatch.setattr(lock_module, "alive", another_comes)
    with Lock(path):
        assert refused and read_json(path)["pid"] == os.getpid()
    assert not list(path.parent.iterdir())


def test_a_claim_of_a_run_that_died_over_it_is_cleared(path, dead_pid):
    write_json(path, holder(pid=dead_pid, heartbeat=0.0))
    claim = path.with_name("lock.json.claim")
    claim.touch()
    os.utime(claim, (0, 0))
    with pytest.raises(BusyError, match="try again"), Lock(path):
        pass
    with Lock(path):
        assert read_json(path)["pid"] == os.getpid()


@pytest.mark.parametrize("damaged", ["{}", "[]", '"text"', '{"pid": 1}'])
def test_a_damaged_lock_is_nobodys(path, damaged):
    path.parent.mkdir(parents=True)
    path.write_text(damaged)
    assert not is_held(path)
    os.utime(path, (0, 0))
    with Lock(path):
        assert is_held(path)


def test_a_lock_given_back_just_now_is_not_taken_over_by_the_way(path, monkeypatch):
    write_json(path, holder())
    read = lock_module.read_holder

    def gone_by_then(place):
        place.unlink(missing_ok=True)
        return read(place)

    monkeypatch.setattr(lock_module, "read_holder", gone_by_then)
    with pytest.raises(BusyError, match="try again"), Lock(path):
        pass
    assert not path.exists()
