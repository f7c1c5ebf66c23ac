"""A trained detector: what its contract says, what a cascade makes of it, and which commands refuse it."""

import h5py
import numpy as np
import pytest

from connectomics.cascade.detectors import scorer
from connectomics.cascade.settings import Detector
from connectomics.cli.main import run
from connectomics.errors import ModelError, SettingsError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.opening import open_volume
from connectomics.io.volume import Volume
from connectomics.networks.models import find_model
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.training.data_settings import DataSettings
from connectomics.training.phantoms import load_phantoms
from connectomics.training.settings import TrainSettings, TruthSettings
from connectomics.training.train import train
from tests.conftest import save_toy

SIZE = (10.0, 10.0, 10.0)
CHUNK = (8, 8, 8)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    """Bright balls in noise: blobs.h5 with raw and labels."""
    rng = np.random.default_rng(0)
    grid, labels = np.indices((40, 40, 40)), np.zeros((40, 40, 40), np.uint8)
    for number, centre in enumerate(rng.uniform(6, 34, (6, 3)), start=1):
        labels[sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < 16] = number
    raw = np.where(labels > 0, 190, 70) + rng.normal(0, 10, labels.shape)
    path = tmp_path_factory.mktemp("blobs") / "blobs.h5"
    with h5py.File(path, "w") as file:
        file["raw"], file["labels"] = raw.clip(0, 255).astype(np.uint8), labels
        for name in ("raw", "labels"):
            file[name].attrs["resolution"], file[name].attrs["offset"] = SIZE, (0.0, 0.0, 0.0)
    return path


@pytest.fixture(scope="module")
def detector(blobs, tmp_path_factory):
    """Trained for a few seconds."""
    return train(recipe(blobs), tmp_path_factory.mktemp("detector") / "run")


def recipe(blobs, **background) -> TrainSettings:
    volume = {"raw": "blobs.h5/raw", "labels": "blobs.h5/labels"} | (background or {"background": "true"})
    return TrainSettings.parse(
        {
            "steps": 60,
            "crop": [16, 16, 16],
            "batch": 2,
            "device": "cpu",
            "data": {"root": str(blobs.parent), "voxel_size": SIZE, "modality": "em", "volumes": [volume]},
            "network": {"name": "DynUNet", "parameters": {"filters": [4, 8, 8], "res_block": True}},
            "targets": {"detector": True},
            "optimiser": {"lr": 2e-2},
            "validation": {"every": 60, "volumes": [volume]},
            "export": {"name": "blobs", "margin": [4, 4, 4], "half_precision": False},
        }
    )


def test_labels_without_background_are_refused(blobs, tmp_path):
    with pytest.raises(SettingsError, match="no voxel of the data is background"):
        train(recipe(blobs, background="unlabelled"), tmp_path / "run")


def test_the_contract_says_that_it_detects(detector):
    contract = find_model(detector).contract
    assert [head.kind for head in contract.heads] == ["detector"]
    assert contract.offsets == () and contract.out_channels == 1 and not contract.translates
    assert 0.6 < contract.scores["validation_balanced_accuracy"] <= 1


def test_a_cascade_scores_chunks_with_it_one_by_one_as_together(detector, blobs):
    volume = open_volume(f"{blobs}/raw")
    settings = InferenceSettings(engine="torch", device="cpu", tile=24, flips=2)  # those of another network
    score = scorer(Detector(level=1, method="model", model=str(detector)), volume, CHUNK, settings)
    scores = score((slice(0, 5),) * 3)
    labels = open_volume(f"{blobs}/labels").read()
    truth = labels.reshape(5, 8, 5, 8, 5, 8).max(axis=(1, 3, 5)) > 0
    assert scores[truth].mean() > scores[~truth].mean() + 0.2
    for index in ((0, 0, 0), (2, 3, 1), (4, 4, 4)):
        alone = score(tuple(slice(i, i + 1) for i in index))
        assert alone[0, 0, 0] == scores[index]


def test_a_model_of_affinities_is_no_detector(tmp_path):
    toy = save_toy(tmp_path / "toy")
    volume = Volume(np.zeros((16, 16, 16), np.uint8), (20.0, 10.0, 10.0), (0.0, 0.0, 0.0), "drawn")
    with pytest.raises(ModelError, match="is no detector"):
        scorer(Detector(level=1, method="model", model=str(toy)), volume, CHUNK, InferenceSettings())


@pytest.mark.parametrize(
    ("command", "words"), [("segment", "predicts no affinities"), ("translate", "translates nothing")]
)
def test_commands_that_need_another_network_refuse_it(detector, blobs, tmp_path, capsys, command, words):
    out = tmp_path / "o.zarr"
    assert run([command, f"{blobs}/raw", str(out), "--model", str(detector), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert words in said and "cascade" in said and len(said.strip().splitlines()) == 1
    assert not out.exists()


def test_predict_writes_its_channel_and_no_uncertainty(detector, blobs, tmp_path):
    out = tmp_path / "o.zarr"
    command = ["predict", f"{blobs}/raw", str(out), "--model", str(detector), "--engine", "torch", "--quiet"]
    assert run(command) == 0
    found = open_volume(f"{out}/prediction", channels=True)
    assert found.array.shape == (1, 40, 40, 40) and "offsets" not in found.attributes
    inside = open_volume(f"{blobs}/labels").read() > 0
    said = found.read()[0]
    assert said[inside].mean() > said[~inside].mean() + 50
    assert not (out / "uncertainty").exists()


def test_a_phantom_of_a_level_is_the_finer_one_averaged(tmp_path):
    data = {"voxel_size": [66, 66, 66], "modality": "xray"}
    coarse = {"count": 1, "shape": [12, 12, 12], "level": 1}
    settings = DataSettings.parse(data | {"phantoms": [coarse]})
    (found,) = load_phantoms(settings, settings.phantoms, tmp_path, TruthSettings())
    fine = Phantom(PhantomSettings(seed=0, voxel_size=33.0))
    box = (slice(0, 24),) * 3
    mean = fine.xray(box).reshape(12, 2, 12, 2, 12, 2).mean((1, 3, 5))
    np.testing.assert_allclose(found.raw.numpy().reshape(12, 12, 12), mean, atol=0.51)
    any_of = fine.labels(box).reshape(12, 2, 12, 2, 12, 2).max((1, 3, 5)) > 0
    np.testing.assert_array_equal(found.labels.numpy() > 0, any_of)
    assert 0.1 < any_of.mean() < 1, "test invalid"
    with pytest.raises(SettingsError, match="level above 0"):
        DataSettings.parse(data | {"phantoms": [coarse | {"skeletons": True}]})
