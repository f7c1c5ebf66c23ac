"""Workers that die, hang and starve, a scheduler that is killed, a full disk: the same arrays in the end."""

import shutil
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from connectomics.cli.main import run
from tests.dask_processes import cluster
from tests.pipeline.test_segment import assert_same, command, records_of

BLOCKS = ["--tile", "32", "--block", "32", "64", "64", "--threads", "1", "--quiet"]
STAGES = {
    "network": "connectomics.pipeline.network_stage",
    "fragments": "connectomics.pipeline.fragment_stage",
    "edges": "connectomics.pipeline.edge_stage",
    "naming": "connectomics.pipeline.edge_files",
    "agglomeration": "connectomics.pipeline.graph_stage",
}
FIRST = {stage: 0 if stage == "agglomeration" else 1 for stage in STAGES}
"""The block that is struck: the small volume's graph is agglomerated in one part."""


@pytest.fixture(scope="module")
def clean(volume, model, tmp_path_factory):
    """A run in one process, that nothing happened to."""
    out = tmp_path_factory.mktemp("clean") / "out.zarr"
    assert run(command(volume, out, model, *BLOCKS)) == 0
    return out


def fault(folder, kind, stage, block=1, times=1):
    """What strikes `times` times when block number `block` of a stage is begun."""
    (folder / "struck").mkdir()
    where = {"folder": str(folder / "struck"), "module": STAGES[stage]}
    return where | {"kind": kind, "block": block, "times": times}


def strikes(folder):
    """How often it struck."""
    return len(list((folder / "struck").iterdir()))


def status(out, step):
    """Block numbers of a step, by what their records say."""
    found = {"done": set(), "failed": set()}
    for record in records_of(out, step):
        found[record["status"]].add(record["block"])
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_that_is_killed(clean, volume, model, tmp_path, stage):
    out = tmp_path / "out.zarr"
    with cluster(tmp_path / "dask", fault=fault(tmp_path, "killed", stage, block=FIRST[stage])) as (
        address,
        processes,
    ):
        assert run(command(volume, out, model, *BLOCKS, "--cluster", address)) == 0
        assert sorted(worker.poll() is None for worker in processes[1:]) == [False, True]
    assert strikes(tmp_path) == 1
    assert_same(clean, out)


@pytest.mark.parametrize("kind", ["hangs", "stopped"])
def test_a_worker_that_hangs(clean, volume, model, tmp_path, capsys, kind):
    out = tmp_path / "out.zarr"
    arguments = [argument for argument in BLOCKS if argument != "--quiet"]
    with cluster(tmp_path / "dask", fault=fault(tmp_path, kind, "fragments")) as (address, _):
        assert run(command(volume, out, model, *arguments, "--cluster", address, "--patience", "3")) == 0
    assert "given to another worker" in " ".join(capsys.readouterr().err.split())
    assert strikes(tmp_path) == 1
    assert_same(clean, out)


def test_a_scheduler_that_is_killed(clean, volume, model, tmp_path, capsys):
    out = tmp_path / "out.zarr"
    with cluster(tmp_path / "first") as (address, processes):
        killer = threading.Thread(target=kill_once_begun, args=(processes[0], out, "edges"))
        killer.start()
        assert run(command(volume, out, model, *BLOCKS, "--cluster", address)) == 1
        killer.join()
    assert "the cluster was lost" in capsys.readouterr().err
    assert not (out / "labels").exists()
    with cluster(tmp_path / "second") as (address, _):
        assert run(command(volume, out, model, *BLOCKS, "--cluster", address)) == 0
    assert_same(clean, out)


def kill_once_begun(process, out, step):
    """Kill a process when the first block of a step is done."""
    while not list((out / "ledger/segment" / step).glob("*/*.json")):
        time.sleep(0.005)
    process.kill()


def test_a_worker_without_memory_fails_its_block_alone_and_more_memory_mends_it(
    clean, volume, model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")  # fewer restarts to wait for
    out, hungry = tmp_path / "out.zarr", fault(tmp_path, "memory", "fragments", times=100)
    options = {"workers": 1, "nanny": True, "memory_limit": "1200MB"}
    with cluster(tmp_path / "dask", fault=hungry, **options) as (address, _):
        assert run(command(volume, out, model, *BLOCKS, "--cluster", address)) == 1
    error = capsys.readouterr().err
    assert "1 of 8 blocks failed: block 1 " in error and "every worker that had it died" in error
    assert status(out, "fragments") == {"done": {0, 2, 3, 4, 5, 6, 7}, "failed": {1}}
    assert strikes(tmp_path) == 4  # two in company and two alone, then no more
    with cluster(tmp_path / "larger", fault=None, workers=1) as (address, _):
        assert run(command(volume, out, model, *BLOCKS, "--cluster", address)) == 0
    assert_same(clean, out)


def test_a_block_that_gets_no_memory_is_named_and_done_when_there_is_some(
    clean, volume, model, tmp_path, capsys
):
    out = tmp_path / "out.zarr"
    with cluster(tmp_path / "dask", fault=fault(tmp_path, "refused", "fragments")) as (address, _):
        arguments = command(volume, out, model, *BLOCKS, "--cluster", address)
        assert run(arguments) == 1
        assert "1 of 8 blocks failed: block 1 " in capsys.readouterr().err
        assert status(out, "fragments")["failed"] == {1} and strikes(tmp_path) == 1
        assert run([*arguments, "--retry-failed"]) == 0
    assert_same(clean, out)


ON_A_SMALL_DISK = """
mount -t tmpfs -o size=64m tmpfs disk || exit 77
head -c $((67108864 - {room})) /dev/zero > disk/filler
"$@" 2> errors
echo $? > first
cp -r disk/out.zarr/ledger ledger
rm disk/filler
"$@" || exit 1
cp -r disk/out.zarr out.zarr
"""
"""Run a command on a file system with so much room, and again with more."""


ROOMS = [
    (600_000, "affinities", []),
    (1_060_000, "fragments", []),
    (1_600_000, "labels", ["--cluster", "local:2"]),
]
"""Bytes of room, the step in which they are used up, options."""


def may_mount():
    """Whether this machine lets a user mount a file system, in a namespace of their own."""
    tried = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "tmpfs",
        tempfile.gettempdir(),
    ]
    return shutil.which("unshare") is not None and subprocess.run(tried, capture_output=True).returncode == 0


@pytest.mark.skipif(
    not may_mount(), reason="needs a small file system, and this machine lets no user mount one"
)
@pytest.mark.parametrize(("room", "step", "more"), ROOMS)
def test_a_full_disk_that_is_freed(clean, volume, model, tmp_path, room, step, more):
    (tmp_path / "disk").mkdir()
    segment = [
        sys.executable,
        "-m",
        "connectomics.cli.main",
        *command(volume, "disk/out.zarr", model, *BLOCKS),
    ]
    namespace = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        ON_A_SMALL_DISK.format(room=room),
    ]
    subprocess.run([*namespace, "sh", *segment, *more], cwd=tmp_path, check=True)
    assert (tmp_path / "first").read_text() == "1\n"
    error = " ".join((tmp_path / "errors").read_text().split())
    assert f"{step}, block" in error and "No space left on device" in error and "Traceback" not in error
    assert_same(clean, tmp_path / "out.zarr")
