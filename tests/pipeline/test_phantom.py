"""`phantom` on disk: all parts of one seed, whatever was there before and whenever it was stopped."""

import json

import numpy as np

from connectomics.cli.main import run
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.opening import open_volume
from connectomics.io.skeletons import read_skeletons
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.pipeline import phantom as pipeline

SHAPE = (32, 32, 32)


def write(out, seed, *more):
    return run(["phantom", str(out), "--shape", *map(str, SHAPE), "--seed", str(seed), *more, "--quiet"])


def assert_of(out, seed, truth=True):
    """Every part that is there is of this seed, and no other part is."""
    made, box = Phantom(PhantomSettings(seed=seed)), tuple(slice(0, n) for n in SHAPE)
    np.testing.assert_array_equal(open_volume(f"{out}/xray").read(), made.xray(box))
    assert ((out / "labels/truth").exists(), out.with_suffix(".skeletons").exists()) == (truth, truth)
    if truth:
        labels = made.labels(box)
        np.testing.assert_array_equal(open_volume(f"{out}/labels/truth").read(), labels)
        skeletons = read_skeletons(out.with_suffix(".skeletons"))
        voxels = np.floor(skeletons.nodes / 33).astype(int)
        np.testing.assert_array_equal(labels[tuple(voxels.T)], skeletons.ids)


def test_another_seed_replaces_every_part_of_a_phantom(tmp_path):
    out = tmp_path / "p.zarr"
    assert write(out, 7, "--truth") == 0
    assert_of(out, 7)
    assert write(out, 8, "--truth", "--overwrite") == 0
    assert_of(out, 8)
    assert write(out, 9, "--overwrite") == 0
    assert_of(out, 9, truth=False)


def test_what_others_wrote_stays(tmp_path, capsys):
    out, image = tmp_path / "p.zarr", np.full(SHAPE, 7, np.uint8)
    notes = out.with_suffix(".skeletons") / "notes.txt"
    assert write(out, 7) == 0
    layout = {"shape": SHAPE, "dtype": np.uint8, "chunks": SHAPE}
    create_array(out, "em", **layout, voxel_size=(33.0,) * 3, offset=(0.0,) * 3)  # as of `translate`
    open_array(out, "em").write_box(tuple(slice(0, n) for n in SHAPE), image)
    notes.parent.mkdir()
    notes.write_text("a week of tracing")
    assert write(out, 8, "--overwrite") == 0
    assert notes.read_text() == "a week of tracing"
    np.testing.assert_array_equal(open_volume(f"{out}/em").read(), image)
    (tmp_path / "q.skeletons").mkdir()
    assert write(tmp_path / "q.zarr", 8, "--truth") == 2
    assert "q.skeletons: exists already" in capsys.readouterr().err
    assert not (tmp_path / "q.zarr").exists()


def test_a_run_killed_at_its_very_end_is_mended(tmp_path, monkeypatch):
    out = tmp_path / "p.zarr"

    def killed(folder, skeletons):
        real(folder, skeletons)
        raise KeyboardInterrupt

    real = pipeline.write_swc
    monkeypatch.setattr(pipeline, "write_swc", killed)
    assert write(out, 7, "--truth") != 0
    assert out.with_suffix(".skeletons").exists(), "test invalid: it is killed after the skeletons"
    monkeypatch.undo()
    assert write(out, 7, "--truth") == 0
    assert_of(out, 7)


def test_skeletons_that_are_gone_are_made_again(tmp_path):
    out = tmp_path / "p.zarr"
    assert write(out, 7, "--truth") == 0
    before = (out / "xray/zarr.json").stat().st_ino
    for path in out.with_suffix(".skeletons").iterdir():
        path.unlink()
    out.with_suffix(".skeletons").rmdir()
    assert write(out, 7, "--truth") == 0
    assert_of(out, 7)
    assert (out / "xray/zarr.json").stat().st_ino == before


def test_failed_truth_is_told_of_and_done_again(tmp_path, monkeypatch, capsys):
    out, report = tmp_path / "p.zarr", tmp_path / "status.json"
    with monkeypatch.context() as patch:
        patch.setattr(Phantom, "labels", lambda self, box: 1 / 0)
        assert write(out, 7, "--truth") == 1
    assert run(["status", str(out), "--json", str(report)]) == 0
    told = json.loads(report.read_text())
    steps = {name for name in told if name.startswith("phantom / ")}
    assert steps == {"phantom / xray", "phantom / labels-truth"}
    assert len(told["phantom / labels-truth"]["failed"]) == 1
    assert write(out, 7, "--truth", "--retry-failed") == 0
    assert_of(out, 7)
