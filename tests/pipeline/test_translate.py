"""Translation from end to end: where its arrays lie, what they hold, and that no run changes them."""

import json
import re

import h5py
import numpy as np
import pytest

from connectomics.cli.main import run
from connectomics.inference import translation_engine
from connectomics.inference.predictor import predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.io.opening import open_volume
from connectomics.networks.models import find_model
from tests.conftest import TRANSLATED, VOXEL_SIZE, save_toy, save_translator

NAMES = ("em", "aleatoric", "epistemic")
SAME = ["--engine", "torch", "--device", "cpu", "--precision", "f32", "--threads", "1", "--quiet"]


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    return save_translator(tmp_path_factory.mktemp("models") / "translator", members=2, dropout=0.3)


@pytest.fixture(scope="module")
def volume(cells, tmp_path_factory):
    """A corner of the cells: (24, 40, 36) voxels."""
    path = tmp_path_factory.mktemp("volume") / "corner.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=cells[:24, :40, :36])
        data.attrs["resolution"], data.attrs["offset"] = VOXEL_SIZE, (200.0, 0.0, 50.0)
    return f"{path}/raw"


def command(volume, out, model, *more):
    return ["translate", volume, str(out), "--model", str(model), "--tile", "16", *SAME, *more]


def arrays(out, names=NAMES):
    return {name: open_volume(f"{out}/{name}") for name in names}


def assert_same(expected, out):
    for name, volume in arrays(expected).items():
        np.testing.assert_array_equal(volume.read(), open_volume(f"{out}/{name}").read(), err_msg=name)


@pytest.fixture(scope="module")
def clean(volume, translator, tmp_path_factory):
    """What an undisturbed run writes."""
    out = tmp_path_factory.mktemp("translated") / "out.zarr"
    assert run(command(volume, out, translator, "--json", str(out.with_suffix(".json")))) == 0
    return out


def test_arrays_lie_where_the_volume_lies_on_the_finer_grid(clean, volume):
    source = open_volume(volume)
    fine = tuple(n * f for n, f in zip(source.shape, TRANSLATED["upsample"], strict=True))
    for name, found in arrays(clean).items():
        assert (found.shape, found.voxel_size) == (fine, (20.0, 5.0, 5.0)), name
        assert found.offset == source.offset and found.roi == source.roi
        assert found.attributes["translation"]["intervals"] == TRANSLATED["intervals"]
        assert open_volume(f"{clean}/{name}/1").shape == (24, 40, 36)
    assert [found.dtype for found in arrays(clean).values()] == ["uint8", "float16", "float16"]
    report = json.loads(clean.with_suffix(".json").read_text())
    assert (
        report["arrays"] == list(NAMES) and report["shape"] == list(fine) and report["samples"] == 4
    )  # as calibrated


def test_arrays_hold_what_the_engine_says(clean, volume, translator):
    source = open_volume(volume)
    settings = InferenceSettings(engine="torch", device="cpu", precision="f32", threads=1, tile=16)
    predictor = predictor_for(find_model(translator), settings, source.read_box, source.shape, samples=4)
    box = tuple(slice(0, n) for n in source.shape)
    em, aleatoric, epistemic = predictor.predict_box(source.read_box, source.shape, box)
    found = {name: one.read().astype(np.float32) for name, one in arrays(clean).items()}
    assert np.abs(found["em"] - np.clip(em, 0, 255)).max() < 0.51
    np.testing.assert_allclose(found["aleatoric"], aleatoric, rtol=2e-3)
    np.testing.assert_allclose(found["epistemic"], epistemic, rtol=2e-3, atol=1e-2)
    assert epistemic.mean() > 0.5 and aleatoric.std() > 0.5, "test invalid"


@pytest.mark.parametrize("workers", [[], ["--cluster", "local:2", "--memory", "6GB"]])
def test_a_region_is_the_same_part_of_the_whole(clean, volume, translator, tmp_path, workers):
    """It begins between chunks, and several workers write to one of them."""
    out = tmp_path / "out.zarr"
    where = ["--roi-offset", "440", "100", "150", "--roi-size", "200", "200", "160"]
    assert run(command(volume, out, translator, *where, *workers)) == 0
    for name, part in arrays(out).items():
        assert part.offset == (440.0, 100.0, 150.0) and part.shape == (10, 40, 32)
        np.testing.assert_array_equal(part.read(), open_volume(f"{clean}/{name}").read(part.roi))


def test_workers_write_the_same(clean, volume, translator, tmp_path):
    out = tmp_path / "out.zarr"
    assert run(command(volume, out, translator, "--cluster", "local:2", "--memory", "6GB")) == 0
    assert_same(clean, out)


def test_an_interrupted_run_goes_on_and_writes_the_same(clean, volume, translator, tmp_path, monkeypatch):
    out, calls = tmp_path / "out.zarr", []
    engine = translation_engine.TranslationEngine.__call__

    def third(self, tile):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return engine(self, tile)

    monkeypatch.setattr(translation_engine.TranslationEngine, "__call__", third)
    assert run(command(volume, out, translator)) == 130
    assert run(command(volume, out, translator)) == 0
    tiles = 2 * 3 * 3
    assert tiles <= len(calls) - 1 < 2 * tiles, "all or nothing was done again"
    assert_same(clean, out)
    before = len(calls)
    assert run(command(volume, out, translator)) == 0 and len(calls) == before


def test_other_samples_are_another_run(clean, volume, translator, capsys):
    assert run(command(volume, clean, translator, "--samples", "3")) == 2
    assert "samples: 4 -> 3" in capsys.readouterr().err


def test_one_pass_measures_no_epistemic_uncertainty(volume, translator, tmp_path):
    out = tmp_path / "out.zarr"
    assert run(command(volume, out, translator, "--samples", "1")) == 0
    assert (out / "aleatoric").exists() and not (out / "epistemic").exists()
    assert run(command(volume, out, translator, "--samples", "2", "--overwrite")) == 0
    assert (out / "epistemic").exists()


def test_em_is_written_in_the_type_it_was_fitted_to(volume, tmp_path):
    model = save_translator(tmp_path / "model", dtype="float32")
    assert run(command(volume, tmp_path / "out.zarr", model, "--samples", "1")) == 0
    em = open_volume(f"{tmp_path}/out.zarr/em").read()
    assert em.dtype == np.float32 and (em != np.rint(em)).any()


def test_every_sample_is_one_pass_over_each_tile(volume, translator, tmp_path, monkeypatch):
    passes = []
    once = translation_engine.TranslationEngine._run
    monkeypatch.setattr(
        translation_engine.TranslationEngine,
        "_run",
        lambda self, one, source: passes.append(one.member) or once(self, one, source),
    )
    assert run(command(volume, tmp_path / "out.zarr", translator, "--samples", "3")) == 0
    tiles = 2 * 3 * 3
    assert (passes.count(0), passes.count(1)) == (2 * tiles, tiles)


WRONG = {
    "translate {volume} out.zarr --model {toy}": "predicts affinities and translates nothing.*segment",
    "predict {volume} out.zarr --model {translator}": "predicts no affinities.*'connectomics translate'",
    "segment {volume} out.zarr --model {translator}": "predicts no affinities.*'connectomics translate'",
    "translate {volume} out.zarr --model {translator} --engine openvino": "--engine torch",
    "translate {volume} out.zarr --model {translator} --samples 0": "samples",
    "translate {volume} out.zarr --model {plain} --samples 9": "--samples 8 or fewer",
    "translate {volume} out.zarr --model {plain} --samples 3 --flips 2": "--samples 2 or fewer",
    "translate {volume} out.zarr --model {translator} --memory 100MB --quiet": "memory",
    "translate {volume} out.zarr --model {translator} --block 17 17 17": "nearest that fits is 32 32 32",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_said_in_one_line(line, volume, translator, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    models = {"toy": save_toy(tmp_path / "toy"), "plain": save_translator(tmp_path / "plain")}
    assert run(line.format(volume=volume, translator=translator, **models).split()) == 2
    shown = capsys.readouterr().err
    assert re.search(WRONG[line], shown) and shown.count("\n") == 1, shown
    assert not (tmp_path / "out.zarr").exists()


ASKED_WRONGLY = {
    "evaluate {volume} {out}/em": "TRUTH is a translation. Name the translation first",
    "evaluate {out}/aleatoric {out}/em": "map of uncertainty; name the translation",
    "evaluate {out} {volume}": "Take another level, or resample one",
}


@pytest.mark.parametrize("line", ASKED_WRONGLY)
def test_a_comparison_that_means_nothing_is_refused(line, clean, volume, capsys):
    assert run([*line.format(out=clean, volume=volume).split(), "--quiet"]) == 2
    shown = capsys.readouterr().err
    assert ASKED_WRONGLY[line] in shown and shown.count("\n") == 1, shown


def test_the_input_is_rescaled_to_the_model(volume, translator, tmp_path):
    out = tmp_path / "out.zarr"
    coarse = ["--voxel-size", "20", "10", "10", "--rescale", "--samples", "1"]
    assert run(command(volume, out, translator, *coarse)) == 0
    assert arrays(out, ["em"])["em"].voxel_size == (VOXEL_SIZE[0], VOXEL_SIZE[1] / 2, VOXEL_SIZE[2] / 2)
