"""Runs with a cascade: what it leaves out stays empty, what it takes is as without, and axons are not cut."""

import json

import h5py
import numpy as np
import pytest

from connectomics.cascade.settings import Cascade
from connectomics.cascade.tree import ChunkTree
from connectomics.cli.main import run
from connectomics.inference.normalisation import sample_affine
from connectomics.io.opening import open_volume
from connectomics.pipeline import cascade_stage
from connectomics.pipeline.chunk_scoring import PASSED, REJECTED
from tests.conftest import VOXEL_SIZE

SHAPE = (32, 64, 256)
SETTINGS = ["--engine", "torch", "--fragments", "components", "--min-object", "20", "--tile", "32", "--quiet"]


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A rod along x, bright at its ends and dimmer between; a second one that ends; dark noise elsewhere."""
    generator = np.random.default_rng(0)
    image = generator.normal(40, 5, SHAPE)
    z, y, x = np.indices(SHAPE)
    rod = ((z - 14) ** 2 + (y - 40) ** 2 < 36) & (x < 220)
    image[rod] = np.where((x > 40) & (x < 180), 190, 235)[rod]
    image[((z - 10) ** 2 + (y - 12) ** 2 < 25) & (x > 200)] = 235
    path = tmp_path_factory.mktemp("sparse") / "rods.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=image.clip(0, 255).astype(np.uint8))
        data.attrs["resolution"], data.attrs["offset"] = VOXEL_SIZE, (0.0, 0.0, 0.0)
    return f"{path}/raw"


@pytest.fixture(scope="module")
def between(volume):
    """A threshold that the rod's bright ends pass, and its dimmer middle does not."""
    source = open_volume(volume)
    affine = sample_affine(source.read_box, source.shape)
    return (212 - affine.mean) / affine.std


def cascade_file(folder, threshold, **more):
    """A cascade of two levels by brightness; only the first threshold matters."""
    levels = [
        {
            "detector": {"level": level, "method": "bright", "smooth": 0.5, "share": 0.01},
            "threshold": threshold if level == 1 else -1e30,
            "sensitivity": 1.0,
            "false_positive_rate": 0.0,
            "seconds": 1e-4,
        }
        for level in (1, 2)
    ]
    values = {
        "name": "rods",
        "modality": "em",
        "voxel_size": VOXEL_SIZE,
        "chunk": [16, 16, 16],
        "levels": levels,
        "fine_seconds": 0.02,
        "dense_seconds": 0.02,
        "promise": {},
        "objects": 100,
        "lost": 0,
    } | more
    path = folder / "rods.json"
    path.write_text(json.dumps(Cascade.parse(values).model_dump(mode="json")))
    return path


def segment(volume, out, model, *more):
    assert run(["segment", volume, str(out), "--model", str(model), *SETTINGS, *more]) == 0
    return open_volume(f"{out}/labels/segmentation").read()


@pytest.fixture(scope="module")
def whole(volume, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out.zarr"
    return segment(volume, out, model)


def test_axons_go_on_where_the_cascade_saw_nothing(between, volume, whole, model, tmp_path):
    path = cascade_file(tmp_path, between)  # the ends of the rods pass, the dimmer middle does not
    report = tmp_path / "report.json"
    found = segment(volume, tmp_path / "o.zarr", model, "--cascade", str(path), "--json", str(report))
    assert len(np.unique(whole)) == 3
    np.testing.assert_array_equal(found > 0, whole > 0)
    pairs = np.unique(np.stack([found[whole > 0], whole[whole > 0]]), axis=1)
    assert pairs.shape[1] == 2  # one to one
    said = json.loads(report.read_text())
    assert 0 < said["tiles_computed"] < said["tiles"]
    verdicts = open_volume(f"{tmp_path}/o.zarr/cascade/segment/level_1").read()
    assert (verdicts == REJECTED).any() and (verdicts == PASSED).any()


def test_without_calling_back_the_rod_is_cut(between, volume, whole, model, tmp_path, monkeypatch):
    """Negative control: the same cascade loses the middle of the rod."""
    monkeypatch.setattr(cascade_stage, "CALLED_BACK", 10**9)
    found = segment(volume, tmp_path / "o.zarr", model, "--cascade", str(cascade_file(tmp_path, between)))
    assert (found > 0).sum() < 0.8 * (whole > 0).sum()


def test_what_is_left_out_is_not_written(between, volume, model, tmp_path):
    path = cascade_file(tmp_path, between)
    out = tmp_path / "p.zarr"
    arguments = [
        "predict",
        volume,
        str(out),
        "--model",
        str(model),
        "--engine",
        "torch",
        "--tile",
        "32",
        "--quiet",
    ]
    assert run([*arguments, "--cascade", str(path)]) == 0
    chunks = {p.name for p in (out / "prediction/0").rglob("*") if p.is_file()}
    dense = tmp_path / "d.zarr"
    assert run([*arguments[:2], str(dense), *arguments[3:]]) == 0
    everything = {p.name for p in (dense / "prediction/0").rglob("*") if p.is_file()}
    some, full = (open_volume(f"{o}/prediction", channels=True).read() for o in (out, dense))
    assert len(list((out / "prediction/0").rglob("*"))) < len(list((dense / "prediction/0").rglob("*")))
    computed = some.any(axis=0)
    np.testing.assert_array_equal(some[:, computed], full[:, computed])
    assert chunks and everything


@pytest.mark.parametrize("cluster", [[], ["--cluster", "local:2"]])
def test_again_is_complete_and_another_cascade_is_refused(between, volume, model, tmp_path, capsys, cluster):
    out, path = tmp_path / "o.zarr", cascade_file(tmp_path, between)
    first = segment(volume, out, model, "--cascade", str(path), *cluster)
    np.testing.assert_array_equal(first, segment(volume, out, model, "--cascade", str(path)))
    other = cascade_file(tmp_path, between - 0.5)
    assert run(["segment", volume, str(out), "--model", str(model), *SETTINGS, "--cascade", str(other)]) == 2
    assert "cascade" in capsys.readouterr().err


def test_a_cascade_that_would_not_pay_computes_everything(volume, whole, model, tmp_path):
    path = cascade_file(tmp_path, -1e30, fine_seconds=0.05)
    report = tmp_path / "report.json"
    found = segment(volume, tmp_path / "o.zarr", model, "--cascade", str(path), "--json", str(report))
    np.testing.assert_array_equal(found, whole)
    assert "tiles_computed" not in json.loads(report.read_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"voxel_size": (30.0, 30.0, 30.0)}, "calibrated at"),
        ({"levels": []}, "levels"),
        ({"levels": "reversed"}, "finest first"),
        ({"chunk": [0, 16, 16]}, "chunk"),
        ({"modality": "xray"}, "is for xray volumes"),
    ],
)
def test_cascades_that_do_not_fit_are_refused(between, volume, model, tmp_path, capsys, change, words):
    path = tmp_path / "wrong.json"
    values = json.loads(cascade_file(tmp_path, between).read_text())
    if change.get("levels") == "reversed":
        change = {"levels": values["levels"][::-1]}
    path.write_text(json.dumps(values | change))
    arguments = ["segment", volume, str(tmp_path / "o.zarr"), "--model", str(model), "--cascade", str(path)]
    assert run(arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "o.zarr").exists()


def test_no_such_cascade(volume, model, tmp_path, capsys):
    arguments = ["segment", volume, str(tmp_path / "o.zarr"), "--model", str(model), "--cascade", "nothing"]
    assert run(arguments) == 2
    assert "no such file or shipped cascade" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named_before_anything_is_planned(
    between, volume, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("connectomics.pipeline.cascade.decide", lambda *_, **__: pytest.fail("planned"))
    path = cascade_file(tmp_path, between)
    arguments = ["segment", volume, str(tmp_path / "o.zarr"), "--model", "nothing", "--cascade", str(path)]
    assert run(arguments) == 2
    assert "nothing" in capsys.readouterr().err


def test_plan_says_what_a_run_takes(between, volume, tmp_path, capsys):
    path, report = cascade_file(tmp_path, between), tmp_path / "plan.json"
    assert run(["cascade", "plan", volume, "--cascade", str(path), "--json", str(report), "--quiet"]) == 0
    said = json.loads(report.read_text())
    assert [one["level"] for one in said["levels"]] == [0, 1, 2]
    assert said["pays"] is True and said["sampled_share"] == 1.0
    for one in said["levels"]:  # everything was looked at: nothing is left open
        assert one["calls_low"] == one["calls"] == one["calls_high"]
    assert 0 < said["levels"][0]["calls"] < said["levels"][0]["chunks"]
    assert said["seconds_low"] == pytest.approx(said["seconds"])
    assert said["seconds_high"] == pytest.approx(said["seconds"])


def test_a_plan_is_in_seconds_of_this_machine(between, volume, tmp_path, monkeypatch):
    path, said = cascade_file(tmp_path, between), []
    for here in (1e-4, 3e-4):
        monkeypatch.setattr("connectomics.cascade.timing.detector_seconds", lambda *_, here=here: here)
        monkeypatch.setattr(ChunkTree, "seconds", lambda *_, here=here: here)
        report = tmp_path / f"{here}.json"
        assert run(["cascade", "plan", volume, "--cascade", str(path), "--json", str(report), "--quiet"]) == 0
        said.append(json.loads(report.read_text()))
    assert [one["slowness"] for one in said] == pytest.approx([1, 3])
    for key in ("seconds", "seconds_high", "single_level_seconds"):
        assert said[1][key] == pytest.approx(3 * said[0][key])
