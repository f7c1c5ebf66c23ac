"""`export`: the edited segmentation as an OME-Zarr of its own; logs of several people."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from connectomics.cli.main import run
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.opening import open_volume
from connectomics.io.tables import write_table
from connectomics.proofreading.session import ReviewSession
from connectomics.proofreading.split import Seed

SHAPE, VOXEL_SIZE, OFFSET = (40, 96, 70), (20.0, 10.0, 10.0), (1000.0, 0.0, -500.0)


@pytest.fixture
def out(tmp_path):
    """Rods along z, 10 x 10 voxels, in two halves each, all halves found apart but the first two rods one."""
    z, y, x = np.indices(SHAPE)
    fragments = np.where((y % 12 < 10) & (x % 12 < 10), 1 + 2 * ((y // 12) * 6 + x // 12) + (z >= 20), 0)
    path, count = tmp_path / "out.zarr", int(fragments.max())
    lut = np.arange(count + 1)
    lut[3:5] = lut[1:3] = 1
    lut = np.unique(lut, return_inverse=True)[1]
    layout = {"shape": SHAPE, "chunks": (32, 32, 32), "voxel_size": VOXEL_SIZE, "offset": OFFSET}
    volume = create_array(path, "labels/fragments", dtype=np.uint64, kind="label", **layout)
    volume.write_box(tuple(slice(0, n) for n in SHAPE), fragments.astype(np.uint64))
    edges = np.stack([np.arange(1, count, 2), np.arange(2, count + 1, 2)], 1).astype(np.uint64)
    flat = np.full(len(edges), 0.3, np.float32)
    tables = {
        "edges": edges,
        "mean": flat,
        "size": flat,
        "p_wrong": flat,
        "position": np.zeros((len(edges), 3), "f4"),
    }
    tables["voxels"] = np.bincount(fragments.ravel(), minlength=count + 1)
    for name, table in tables.items():
        write_table(path / "region_graph", name, table)
    write_table(path, "lut", lut.astype(np.uint64))
    return path


def edit(out, author="ann"):
    """A merge, a split, a deletion and a cut; what the result must be."""
    with ReviewSession.open(out, author) as session:
        session.merge(5, 6)
        session.merge(7, 8)
        session.undo()
        session.delete(9)
        above, below = (tuple((np.array([z, 5, 29]) + 0.5) * VOXEL_SIZE + OFFSET) for z in (2, 38))
        session.split([Seed(above, 1), Seed(below, 2)])
        session.split([Seed(above, 1), Seed((above[0] + 180, *above[1:]), 2)])
        return session.levels[0][:]


def read(path):
    return open_volume(path).read()


def test_the_edits_are_in_what_is_written(out, tmp_path):
    expected = edit(out)
    arguments = ["export", str(out), str(tmp_path / "a.zarr"), "--quiet", "--json", str(tmp_path / "a.json")]
    assert run(arguments) == 0
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), expected)
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["edits"] == {"merge": 1, "split": 2, "delete": 1} and report["shape"] == list(SHAPE)
    assert report["segments"] == len(np.unique(expected)) - 1 and report["levels"] == 2
    assert report["logs"] == [str(out / "edits" / "ann.jsonl")]
    written = open_array(tmp_path / "a.zarr", "")
    assert written.voxel_size == VOXEL_SIZE and written.offset == OFFSET and written.dtype == np.uint64
    assert open_array(tmp_path / "a.zarr", "", 1).shape == (40, 48, 35) or open_array(
        tmp_path / "a.zarr", "", 1
    )
    assert run(["export", str(out), str(tmp_path / "b.zarr"), "--block", "32", "32", "64", "--quiet"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "b.zarr"), expected)
    assert run(arguments) == 0 and json.loads((tmp_path / "a.json").read_text())["already_complete"] is True


def test_without_a_log_the_segmentation_is_as_found(out, tmp_path):
    assert run(["export", str(out), str(tmp_path / "a.zarr"), "--quiet"]) == 0
    table = np.unique(read(tmp_path / "a.zarr"))
    assert table.tolist() == list(range(len(table)))


def test_more_edits_are_another_output(out, tmp_path, capsys):
    arguments = ["export", str(out), str(tmp_path / "a.zarr"), "--quiet"]
    assert run(arguments) == 0
    expected = edit(out)
    assert run(arguments) == 2 and "edits:" in capsys.readouterr().err
    assert run([*arguments, "--overwrite"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), expected)


def test_the_logs_of_others_are_merged_and_conflicts_named(out, tmp_path, capsys):
    with ReviewSession.open(out, "ann") as session:
        session.merge(5, 6)
    with ReviewSession.open(out, "bob", log_folder=tmp_path / "sent") as session:
        session.merge(7, 8)
    sent = tmp_path / "sent" / "bob.jsonl"
    assert run(["export", str(out), str(tmp_path / "a.zarr"), "--log", str(sent), "--quiet"]) == 0
    found = read(tmp_path / "a.zarr")
    assert found[0, 0, 24] == found[30, 0, 24] and found[0, 0, 36] == found[30, 0, 36]
    with ReviewSession.open(out, "bob", log_folder=tmp_path / "sent") as session:
        session.delete(5)
    capsys.readouterr()
    assert run(["export", str(out), str(tmp_path / "b.zarr"), "--log", str(sent), "--quiet"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "1 conflicts between" in error or "2 conflicts between" in error
    assert "bob" in error and "ann" in error and "fragments 5 and 6" in error and "--author" in error
    assert not (tmp_path / "b.zarr").exists()
    assert run(["export", str(out), str(tmp_path / "b.zarr"), "--author", "ann", "--quiet"]) == 0
    found = read(tmp_path / "b.zarr")
    assert found[0, 0, 24] == found[30, 0, 24] != 0 and found[0, 0, 36] != found[30, 0, 36]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{labels}", "{dst}"], "is no output of `segment`"),
        (["{none}", "{dst}"], "is no output of `segment`"),
        (["{out}", "{out}"], "is the input"),
        (["{out}", "{out}/export.zarr"], "is the input, or lies in it"),
        (["{out}", "{dst}", "--author", "eve"], "has no edit log in"),
        (["{out}", "{dst}", "--log", "{none}"], "no such edit log"),
        (["{out}", "{dst}", "--memory", "lots"], "memory"),
        (["{out}", "{dst}", "--block", "5", "5", "5"], "whole chunks"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(out, tmp_path, capsys, arguments, says):
    names = {"out": out, "dst": tmp_path / "dst.zarr", "labels": out / "labels", "none": tmp_path / "none"}
    assert run(["export", *(argument.format(**names) for argument in arguments), "--quiet"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert says in error and "Traceback" not in error
    assert not (tmp_path / "dst.zarr").exists() and not (out / "export.zarr").exists()


def test_a_log_of_another_segmentation_is_refused(out, tmp_path, capsys):
    edit(out)
    lut = np.array(open_table(out))
    lut[-1] = 1
    write_table(out, "lut", lut)
    assert run(["export", str(out), str(tmp_path / "a.zarr"), "--quiet"]) == 2
    assert "made on other fragments" in " ".join(capsys.readouterr().err.split())


def open_table(out):
    from connectomics.io.tables import read_table

    return read_table(out, "lut")


DIE = """
import os, signal, sys, time
from pathlib import Path
from connectomics.io.volume import Volume
write, blocks = Volume.write_box, []
def dying(self, box, array):
    blocks.append(box)
    if len(blocks) > 2:
        ledger, until = Path(sys.argv[3], "ledger"), time.monotonic() + 60
        while len(list(ledger.rglob("0*.json"))) < 2 and time.monotonic() < until:
            time.sleep(0.01)  # blocks are recorded by another thread
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, box, array)
Volume.write_box = dying
from connectomics.cli.main import main
main(sys.argv[1:])
"""


def test_a_killed_export_goes_on_where_it_was(out, tmp_path):
    expected = edit(out)
    arguments = [
        "export",
        str(out),
        str(tmp_path / "a.zarr"),
        "--block",
        "32",
        "32",
        "32",
        "--workers",
        "1",
        "--quiet",
    ]
    died = subprocess.run([sys.executable, "-c", DIE, *arguments], env=os.environ, capture_output=True)
    assert died.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "a.zarr/ledger/export/export").rglob("*.json"))) == 2
    assert run(arguments) == 0
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), expected)


def test_on_workers_of_a_cluster(out, tmp_path):
    pytest.importorskip("distributed")
    expected = edit(out)
    assert run(["export", str(out), str(tmp_path / "a.zarr"), "--cluster", "local:1", "--quiet"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), expected)
