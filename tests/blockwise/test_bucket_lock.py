"""The lock of an output in a bucket: conditional writes decide between two runs."""

import logging
import os
import socket
import time

import pytest

from connectomics.blockwise import lock as lock_module
from connectomics.blockwise.bucket_lock import BucketLock
from connectomics.blockwise.lock import STALE_SECONDS, is_held, lock_for
from connectomics.errors import BusyError
from connectomics.io.files import read_json, write_json
from connectomics.io.place import as_place
from tests.blockwise.test_lock import holder
from tests.servers import FlakyProxy, serving


@pytest.fixture
def place(bucket):
    return as_place(f"{bucket}/out.zarr/ledger/lock.json")


def old(**changes):
    return holder(host="elsewhere", heartbeat=time.time() - STALE_SECONDS - 1, **changes)


def test_the_lock_is_there_while_held_and_gone_afterwards(place):
    with lock_for(place) as lock:
        assert isinstance(lock, BucketLock) and is_held(place)
        assert read_json(place)["pid"] == os.getpid()
    assert not place.exists() and not is_held(place)


def test_a_live_run_refuses_another_and_keeps_its_lock(place):
    with lock_for(place):
        before = place.read_bytes()
        with pytest.raises(BusyError, match=f"pid {os.getpid()} on {socket.gethostname()}"), lock_for(place):
            pass
        assert place.read_bytes() == before
    write_json(place, holder(host="elsewhere"))
    with pytest.raises(BusyError, match="elsewhere"), lock_for(place):
        pass
    assert read_json(place)["host"] == "elsewhere"


@pytest.mark.parametrize("left", [None, b"{", b"[]"])
def test_what_a_run_that_is_gone_left_is_taken_over(place, left, caplog):
    if left is None:
        write_json(place, old())
    else:
        place.write_bytes(left)
    with lock_for(place):
        assert read_json(place)["pid"] == os.getpid()
    assert "taking over" in caplog.text


def test_of_two_that_take_over_one_is_refused(place, monkeypatch):
    write_json(place, old())
    read, second = type(place).read_version, lock_for(place)

    def read_and_be_overtaken(self):
        found = read(self)
        monkeypatch.setattr(type(place), "read_version", read)
        second.__enter__()
        return found

    monkeypatch.setattr(type(place), "read_version", read_and_be_overtaken)
    with pytest.raises(BusyError, match="another run"), lock_for(place):
        pass
    assert is_held(place)
    second.__exit__(None, None, None)
    assert not is_held(place)


def test_a_run_that_was_taken_over_says_so_and_leaves_the_lock(place, monkeypatch, caplog):
    monkeypatch.setattr(lock_module, "HEARTBEAT_SECONDS", 0.02)
    with lock_for(place):
        write_json(place, holder(host="elsewhere"))
        wait_until(lambda: "another has taken the output over" in caplog.text)
        assert read_json(place)["host"] == "elsewhere"
    assert read_json(place)["host"] == "elsewhere"
    assert [r.levelno for r in caplog.records if "taken" in r.message] == [logging.ERROR], "said once"


def test_the_heart_beats(place, monkeypatch):
    monkeypatch.setattr(lock_module, "HEARTBEAT_SECONDS", 0.02)
    with lock_for(place):
        first = read_json(place)["heartbeat"]
        wait_until(lambda: read_json(place)["heartbeat"] > first)


def wait_until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lock_whose_answer_was_lost_is_held_all_the_same(place, s3_address, monkeypatch):
    monkeypatch.setattr(lock_module, "HEARTBEAT_SECONDS", 0.02)
    with serving(FlakyProxy(s3_address)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        puts = []

        def lose_each_second_write(request):
            puts.extend([request] if request.startswith("PUT") else [])
            if not request.startswith("PUT") or len(puts) % 2 == 0:
                return None
            proxy.spoilt["lost"] += 1
            return "lost"

        proxy.fate = lose_each_second_write
        with lock_for(place):
            first = read_json(place)["heartbeat"]
            wait_until(lambda: proxy.spoilt["lost"] > 3 and read_json(place)["heartbeat"] > first)
            assert is_held(place)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*s3_address))
    assert not place.exists()


def test_a_store_without_conditional_writes_is_locked_with_a_warning(place, monkeypatch, caplog):
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    with lock_for(place):
        assert is_held(place)
        with pytest.raises(BusyError), lock_for(place):
            pass
    assert "knows no conditional writes" in caplog.text
    assert not place.exists()
