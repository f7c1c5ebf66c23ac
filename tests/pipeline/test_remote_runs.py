"""Commands from bucket to bucket: the arrays of a local run, whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.lock import lock_for
from connectomics.cli.main import run
from connectomics.io.opening import open_volume
from connectomics.io.place import as_place
from connectomics.io.remote import RETRY_VARIABLE
from connectomics.io.skeletons import read_skeletons
from tests.pipeline.test_segment import assert_same, clean, command  # noqa: F401
from tests.servers import FileServer, FlakyProxy, serving

BLOCK = ["--block", "32", "32", "32"]


@pytest.fixture
def given(volume, bucket):
    """The volume of the local run, in a bucket."""
    assert run(["convert", volume, f"{bucket}/cells.zarr", "--levels", "1", "--quiet"]) == 0
    return f"{bucket}/cells.zarr"


@pytest.fixture
def proxy(s3_address):
    with serving(FlakyProxy(s3_address)) as server:
        yield server


def contents(url):
    place = as_place(url)
    return {key: (place / key).read_bytes() for key in place.keys()}  # noqa: SIM118


def test_segment_in_a_bucket_equals_segment_here(clean, given, model, bucket, tmp_path, capsys):  # noqa: F811
    out = f"{bucket}/deep/out.zarr"
    assert run(command(given, out, model, *BLOCK)) == 0
    assert_same(clean, out)
    here = {p.relative_to(clean).as_posix() for p in clean.rglob("*") if p.is_file()}
    there = set(as_place(out).keys())
    assert all("ledger/segment/running-" in key for key in there ^ here), "what ran when is told every 5 s"
    assert len(as_place(bucket).keys()) == len(there) + len(as_place(given).keys()), "written elsewhere too"
    before = contents(out)
    assert run(command(given, out, model, *BLOCK, "--json", str(tmp_path / "again.json"))) == 0
    assert json.loads((tmp_path / "again.json").read_text())["already_complete"] is True
    assert run(command(given, out, model, *BLOCK, "--threshold", "0.9")) == 2
    assert "segmentation.threshold" in capsys.readouterr().err
    assert contents(out) == before
    assert run(["status", out, "--json", str(tmp_path / "status.json"), "--quiet"]) == 0
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["segment"], status["live"]) == ("complete", False)
    assert status["segment / fragments"]["done"] == 18
    scores = str(tmp_path / "scores.json")
    truth = f"{clean}/labels/segmentation"
    assert run(["evaluate", f"{out}/labels/segmentation", truth, "--json", scores, "--quiet"]) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["voi_sum"] == pytest.approx(0, abs=1e-9)
    assert run(["info", f"{out}/labels/segmentation", "--quiet"]) == 0


def test_workers_open_the_bucket_by_themselves(clean, given, model, bucket):  # noqa: F811
    out = f"{bucket}/out.zarr"
    assert run(command(given, out, model, *BLOCK, "--cluster", "local:2", "--threads", "1")) == 0
    assert_same(clean, out)


def test_killed_and_run_again_equals_uninterrupted(clean, given, model, bucket):  # noqa: F811
    out = f"{bucket}/out.zarr"
    arguments = command(given, out, model, *BLOCK)
    process = subprocess.Popen(
        [sys.executable, "-m", "connectomics.cli.main", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    ledger = Ledger(f"{out}/ledger/segment")
    deadline = time.monotonic() + 120
    while process.poll() is None and len(ledger.done("fragments")) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() != 0, process.communicate()[1].decode()
    process.stderr.close()
    assert (as_place(out) / "ledger/lock.json").is_file()
    finished = {record["block"]: record["finished"] for record in ledger.records("fragments")}
    assert 3 <= len(finished) < 18
    assert run(arguments) == 0
    again = {record["block"]: record["finished"] for record in ledger.records("fragments")}
    assert {block: again[block] for block in finished} == finished, "a block was done twice"
    assert_same(clean, out)


def test_a_live_run_refuses_another(given, model, bucket, capsys):
    out = f"{bucket}/out.zarr"
    with lock_for(as_place(out) / "ledger/lock.json"):
        for more in ([], ["--overwrite"]):
            assert run(command(given, out, model, *BLOCK, *more)) == 2
            assert f"another run (pid {os.getpid()}" in capsys.readouterr().err
        assert not (as_place(out) / "affinities").exists()


def test_a_store_that_fails_now_and_then_changes_nothing(
    clean,  # noqa: F811
    given,
    model,
    bucket,
    proxy,
    monkeypatch,
):
    proxy.share = 0.05
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    out = f"{bucket}/out.zarr"
    assert run(command(given, out, model, *BLOCK)) == 0
    proxy.share = 0.0
    assert_same(clean, out)
    assert len(proxy.requests) > 500 and sum(proxy.spoilt.values()) > 0.02 * len(proxy.requests)
    assert set(proxy.spoilt) == {"503", "reset", "lost", "cut"}, proxy.spoilt


def test_a_store_that_always_fails_is_given_up_soon(given, model, bucket, proxy, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv(RETRY_VARIABLE, "1")
    proxy.share, proxy.kinds = 1.0, ("503",)
    assert run(command(given, f"{bucket}/out.zarr", model, *BLOCK)) == 1
    assert "503 Service Unavailable" in one_line(capsys)


def test_a_store_that_fails_in_the_middle_is_a_failed_run_that_goes_on(
    clean,  # noqa: F811
    given,
    model,
    bucket,
    proxy,
    monkeypatch,
    capsys,
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv(RETRY_VARIABLE, "0.3")
    out, fate = f"{bucket}/out.zarr", proxy.fate

    def fail_some_blocks(request):
        written = request.startswith("PUT") and "/scratch/fragments/0/c/1/2/" in request
        return "503" if written else fate(request)

    proxy.fate = fail_some_blocks
    assert run(command(given, out, model, *BLOCK)) == 1
    error = capsys.readouterr().err
    assert "3 of 18 blocks failed" in error and "503" in error and "Traceback" not in error
    proxy.fate = fate
    assert run(command(given, out, model, *BLOCK)) == 0
    assert_same(clean, out)


def test_mistakes_are_one_line_and_leave_nothing(given, model, bucket, proxy, tmp_path, monkeypatch, capsys):
    before = contents(bucket)
    with serving(FileServer(tmp_path)) as web:
        for source, out, said in (
            (given, "s3://nowhere/out.zarr", "s3://nowhere: no such bucket"),
            ("s3://nowhere/cells.zarr", f"{bucket}/out.zarr", "s3://nowhere: no such bucket"),
            (f"{bucket}/no.zarr", f"{bucket}/out.zarr", "no such zarr group or array"),
            (given, f"{web.url}/out.zarr", "read only"),
            (given, bucket, "is a whole bucket"),
            (given, "s3:/bucket/out.zarr", "Write s3://"),
        ):
            assert run(command(source, out, model, *BLOCK)) == 2, said
            assert said in one_line(capsys)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    proxy.share, proxy.kinds = 1.0, ("403",)
    assert run(command(given, f"{bucket}/out.zarr", model, *BLOCK)) == 2
    assert "access was denied (403)" in one_line(capsys)
    proxy.share = 0.0
    assert contents(bucket) == before


def one_line(capsys):
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error:")]
    return line


def test_phantom_and_predict_in_a_bucket(model, bucket, tmp_path):
    for root in (bucket, str(tmp_path)):
        shape = ["--shape", "64", "64", "64", "--block", "32", "32", "32", "--truth"]
        assert run(["phantom", f"{root}/p.zarr", *shape, "--quiet"]) == 0
        assert run(["phantom", f"{root}/p.zarr", *shape, "--quiet"]) == 0
        predict = ["predict", f"{root}/p.zarr/xray", f"{root}/q.zarr", "--model", str(model), "--rescale"]
        assert run([*predict, "--engine", "torch", "--quiet"]) == 0
    for name in ("p.zarr/xray", "p.zarr/labels/truth"):
        there, here = (open_volume(f"{root}/{name}") for root in (bucket, tmp_path))
        np.testing.assert_array_equal(there.read(), here.read())
    there, here = (open_volume(f"{root}/q.zarr/prediction", channels=True) for root in (bucket, tmp_path))
    np.testing.assert_array_equal(there.read(), here.read())
    there, here = (read_skeletons(f"{root}/p.skeletons") for root in (bucket, tmp_path))
    np.testing.assert_array_equal(there.nodes, here.nodes)
    scores = tmp_path / "scores.json"
    truth = [f"{bucket}/p.zarr/labels/truth", f"{bucket}/p.skeletons"]
    assert run(["evaluate", *truth, "--json", str(scores), "--quiet"]) == 0
    assert json.loads(scores.read_text())["nerl"] > 0.9


def test_convert_in_a_bucket_resumes_refuses_and_replaces(volume, bucket, capsys):
    out = f"{bucket}/cells.zarr"
    convert = ["convert", volume, out, "--quiet", "--chunk", "32"]
    assert run(convert) == 0 and run(convert) == 0
    assert run([*convert, "--shard", "64"]) == 2
    assert "settings.shard" in one_line(capsys)
    assert run([*convert, "--shard", "64", "--overwrite"]) == 0
    assert open_volume(out).shards == (64, 64, 64)
    np.testing.assert_array_equal(open_volume(out).read(), open_volume(volume).read())
    assert run(["convert", f"{out}/0", out, "--quiet"]) == 2
    assert "is the input, or holds it" in capsys.readouterr().err
