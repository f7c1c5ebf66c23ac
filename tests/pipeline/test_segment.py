"""`segment` end to end: geometry, resume, refusal, failure, and the same labels for every block size."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from connectomics.cli.main import run
from connectomics.io.opening import open_volume
from connectomics.io.tables import read_table
from tests.conftest import VOXEL_SIZE

SETTINGS = ["--boundary-threshold", "0.5", "--max-distance", "8", "--grow", "2", "--min-object", "5"]
SETTINGS += ["--grey-penalty", "1"]


def command(volume, out, model, *more):
    return ["segment", str(volume), str(out), "--model", str(model), "--engine", "torch", *SETTINGS, *more]


def labels(out):
    return {
        name: open_volume(f"{out}/{name}").read()
        for name in ("labels/segmentation", "labels/fragments", "uncertainty")
    }


def assert_same(one, other):
    for name, array in labels(one).items():
        np.testing.assert_array_equal(array, open_volume(f"{other}/{name}").read(), err_msg=name)


@pytest.fixture(scope="module")
def clean(volume, model, tmp_path_factory):
    """An uninterrupted run with blocks of 32."""
    out = tmp_path_factory.mktemp("clean") / "out.zarr"
    assert run(command(volume, out, model, "--block", "32", "32", "32")) == 0
    return out


def test_writes_what_is_promised(clean):
    found = labels(clean)
    segments = np.unique(found["labels/segmentation"])
    fragments = np.unique(found["labels/fragments"])
    assert found["labels/segmentation"].dtype == np.uint64
    assert 10 < len(segments) <= len(fragments)
    np.testing.assert_array_equal(fragments, np.arange(len(fragments)))  # ids 1..n, 0 = background
    edges = read_table(clean, "region_graph/edges")
    assert (edges[:, 0] < edges[:, 1]).all()
    lut = read_table(clean, "lut")
    np.testing.assert_array_equal(lut[found["labels/fragments"].astype(int)], found["labels/segmentation"])
    volume = open_volume(f"{clean}/labels/segmentation")
    assert (volume.voxel_size, volume.offset) == (VOXEL_SIZE, (200.0, 0.0, 50.0))
    assert not (clean / "scratch").exists() and not (clean / "affinities").exists()


@pytest.mark.parametrize("block", [(64, 96, 96), (32, 64, 96)])
def test_block_size_changes_nothing(clean, volume, model, tmp_path, block):
    assert run(command(volume, tmp_path / "out.zarr", model, "--block", *map(str, block))) == 0
    assert_same(clean, tmp_path / "out.zarr")


def test_again_is_already_complete_and_other_settings_are_refused(clean, volume, model, capsys):
    before = sorted((p, p.stat().st_mtime_ns) for p in clean.rglob("*") if p.is_file())
    assert run(command(volume, clean, model, "--block", "32", "32", "32")) == 0
    assert run(command(volume, clean, model, "--block", "32", "32", "32", "--threshold", "0.9")) == 2
    assert "segmentation.threshold" in capsys.readouterr().err
    assert before == sorted((p, p.stat().st_mtime_ns) for p in clean.rglob("*") if p.is_file())


@pytest.mark.parametrize("gone", ["labels/segmentation", "lut"])
def test_a_complete_run_that_lost_a_product_writes_all_of_it_again(clean, volume, model, tmp_path, gone):
    out = tmp_path / "out.zarr"
    shutil.copytree(clean, out)
    shutil.rmtree(out / gone)
    assert run(command(volume, out, model, "--block", "32", "32", "32")) == 0
    assert_same(clean, out)
    np.testing.assert_array_equal(read_table(out, "lut"), read_table(clean, "lut"))
    assert not (out / "scratch").exists()


def test_labels_lost_before_the_end_are_written_again(clean, volume, model, tmp_path, monkeypatch):
    out, arguments = (
        tmp_path / "out.zarr",
        command(volume, tmp_path / "out.zarr", model, "--block", *["32"] * 3),
    )
    with monkeypatch.context() as patch:
        patch.setattr("connectomics.pipeline.segment.build_pyramids", lambda stage: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(arguments)
    assert len(records_of(out, "labels")) == 18, "test invalid: every block is done"
    shutil.rmtree(out / "labels/fragments")
    assert run(arguments) == 0
    assert_same(clean, out)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_and_run_again_equals_uninterrupted(clean, volume, model, tmp_path, kind):
    out = tmp_path / "out.zarr"
    arguments = command(volume, out, model, "--block", "32", "32", "32")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "connectomics.cli.main", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    records = out / "ledger/segment/fragments"
    deadline = time.monotonic() + 120
    while process.poll() is None and len(list(records.glob("*/*.json"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(kind)
    error = process.communicate()[1].decode()
    assert process.returncode != 0, error
    finished = {path: path.stat().st_mtime_ns for path in records.glob("*/*.json")}
    if kind == signal.SIGKILL:
        assert (out / "ledger/lock.json").exists()
    assert run(arguments) == 0
    assert finished == {path: path.stat().st_mtime_ns for path in finished}  # nothing done twice
    assert_same(clean, out)


def test_a_corrupt_chunk_is_bad_input_and_nothing_is_written(cells, model, tmp_path, capsys):
    source = tmp_path / "cells.zarr"
    array = zarr.create_array(store=str(source), shape=cells.shape, chunks=(32, 32, 32), dtype="uint8")
    array[...] = cells
    chunk = source / "c/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-100])
    size = [str(v) for v in VOXEL_SIZE]
    assert run(command(source, tmp_path / "out.zarr", model, "--voxel-size", *size)) == 2
    assert "corrupt" in capsys.readouterr().err
    assert not (tmp_path / "out.zarr").exists()


def test_a_failing_block_is_named_and_a_rerun_does_only_it(
    clean, volume, model, tmp_path, capsys, monkeypatch
):
    from connectomics.pipeline import fragment_stage

    honest = fragment_stage.block_fragments

    def fail_once(affinities, offsets, box, corner, shape, settings):
        if corner == (0, 0, 0) and box[2].start == 0 and box[0].stop == 32 and box[1].start == 0:
            raise MemoryError("out of luck")
        return honest(affinities, offsets, box, corner, shape, settings)

    out = tmp_path / "out.zarr"
    arguments = command(volume, out, model, "--block", "32", "32", "32")
    monkeypatch.setattr(fragment_stage, "block_fragments", fail_once)
    assert run(arguments) == 1
    error = capsys.readouterr().err
    assert "1 of 18 blocks failed" in error and "MemoryError: out of luck" in error
    assert "Traceback" not in error
    states = {r["block"]: r["status"] for r in records_of(out, "fragments")}
    assert sorted(states.values()) == ["done"] * 17 + ["failed"]
    done = [p for p in (out / "ledger/segment/fragments").glob("*/*.json") if '"done"' in p.read_text()]
    before = {path: path.stat().st_mtime_ns for path in done}
    monkeypatch.undo()
    assert run(arguments) == 0
    assert before == {path: path.stat().st_mtime_ns for path in done}
    assert_same(clean, out)


def records_of(out, step):
    return [json.loads(p.read_text()) for p in Path(out, "ledger/segment", step).glob("*/*.json")]


def test_memory_and_workers_may_be_others_when_a_run_goes_on(volume, model, tmp_path):
    out = tmp_path / "out.zarr"
    assert run(command(volume, out, model, "--memory", "1GB", "--workers", "1", "--quiet")) == 0
    before = labels(out)
    shutil.rmtree(out / "labels/segmentation")  # what is gone is made anew
    more = ["--memory", "5GB", "--workers", "64", "--quiet"]
    assert run(command(volume, out, model, *more)) == 0
    for name, array in labels(out).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.fixture
def slab(tmp_path):
    """(200, 64, 64) float32 of 20 x 10 x 10 nm: an image where z < 64, and two ways to have none beyond."""
    path = tmp_path / "slab.h5"
    image = np.zeros((200, 64, 64), np.float32)
    image[:64] = np.random.default_rng(0).normal(120, 40, (64, 64, 64))
    with h5py.File(path, "w") as file:
        for name, beyond in (("empty", 0.0), ("unknown", np.nan)):
            image[64:] = beyond
            file.create_dataset(name, data=image).attrs["resolution"] = VOXEL_SIZE
        file["bare"] = np.nan_to_num(image)
        late = np.zeros_like(image)
        late[150:158] = image[:8]  # between the blocks of 64 that are looked at
        file.create_dataset("late", data=late).attrs["resolution"] = VOXEL_SIZE
    return path


@pytest.mark.parametrize(("name", "first", "code"), [
    ("unknown", 0, 0), ("unknown", 100, 2), ("empty", 0, 0), ("empty", 100, 0), ("late", 148, 0),
])  # fmt: skip
def test_only_the_region_is_looked_at_and_may_be_empty(slab, model, tmp_path, capsys, name, first, code):
    region = ["--roi-offset", str(20 * first), "0", "0", "--roi-size", "640", "640", "640", "--tile", "32"]
    assert run(command(f"{slab}/{name}", tmp_path / "out.zarr", model, *region, "--quiet")) == code
    if code:
        assert "NaN" in capsys.readouterr().err


def test_a_region_may_reach_the_end_of_what_is_resampled(slab, model, tmp_path, capsys):
    rescaled = ["--voxel-size", "9", "9", "9", "--rescale", "--quiet"]  # 72 x 57.6 x 57.6 voxels of the model
    region = ["--roi-offset", "0", "0", "0", "--roi-size", "576", "576", "576"]
    assert run(command(f"{slab}/bare", tmp_path / "out.zarr", model, *region, *rescaled)) == 0
    assert open_volume(f"{tmp_path}/out.zarr/labels/segmentation").shape == (29, 57, 57)
    beyond = ["--roi-offset", "0", "0", "0", "--roi-size", "576", "576", "586"]
    assert run(command(f"{slab}/bare", tmp_path / "other.zarr", model, *beyond, *rescaled)) == 2
    assert "does not lie inside" in capsys.readouterr().err
