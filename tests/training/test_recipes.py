"""The shipped recipes can be run: each is read without complaint, and XPRESS's on data of its make-up."""

import pickle
from pathlib import Path

import h5py
import networkx as nx
import numpy as np
import pytest

from connectomics.cascade.settings import CalibrationSettings
from connectomics.networks.models import find_model
from connectomics.settings import apply_overrides, read_toml
from connectomics.training.settings import TrainSettings
from connectomics.training.train import train

RECIPES = Path(__file__).parents[2] / "data/recipes"
GIVEN_BY_ITS_SCRIPT = {name: ["data.phantoms=[{}]"] for name in ("supervision", "translation-judge")}


TRAININGS = sorted(path for path in RECIPES.glob("*.toml") if not path.stem.endswith("-cascade"))


@pytest.mark.parametrize("recipe", TRAININGS, ids=lambda path: path.stem)
def test_a_recipe_is_read(recipe):
    values = apply_overrides(read_toml(recipe), GIVEN_BY_ITS_SCRIPT.get(recipe.stem, []))
    settings = TrainSettings.parse(values, str(recipe))
    assert settings.data.volumes or settings.data.pairs or settings.data.phantoms
    assert settings.export.name == recipe.stem or recipe.stem in GIVEN_BY_ITS_SCRIPT


def test_the_recipe_of_a_cascade_is_read():
    settings = CalibrationSettings.parse(read_toml(RECIPES / "xnh-cascade.toml"))
    assert settings.name == "xnh-cascade" and settings.promise.unit == "volume"


@pytest.fixture
def challenge(tmp_path):
    """Files named and laid out as the challenge's: 48^3 voxels, 16^3 of them painted; bars along z."""
    bars = np.zeros((48, 48, 48), np.uint32)
    graph = nx.Graph()
    for i, (y, x) in enumerate(np.ndindex(4, 4)):
        bars[:, 12 * y + 2 : 12 * y + 10, 12 * x + 2 : 12 * x + 10] = i + 1
        for k, z in enumerate(range(2, 48, 4)):
            graph.add_node((i, k), position=np.array([12 * x + 6, 12 * y + 6, z]) * 33.0, skeleton_id=i)
            if k:
                graph.add_edge((i, k - 1), (i, k))
    noise = np.random.default_rng(0).normal(0, 12, bars.shape)
    raw = np.clip(60 + 120 * (bars > 0) + noise, 0, 255).astype(np.uint8)
    place = {"resolution": (33, 33, 33)}
    with h5py.File(tmp_path / "xpress-training-raw.h5", "w") as file:
        file["volumes/raw"] = raw
        file["volumes/raw"].attrs.update(place | {"offset": (0, 0, 0)})
    with h5py.File(tmp_path / "xpress-training-voxel-labels.h5", "w") as file:
        file["volumes/labels"] = bars[16:32, 16:32, 16:32]
        file["volumes/labels"].attrs.update(place | {"offset": (16 * 33,) * 3})
    (tmp_path / "XPRESS_training_skels.npz").write_bytes(pickle.dumps(graph))
    return tmp_path


def test_the_recipe_for_xpress_runs_on_data_of_its_make_up(challenge, tmp_path):
    changes = [f"data.root={challenge}", "steps=10", "crop=[32, 32, 32]", "batch=1", "device=cpu"]
    changes += ["network.parameters.filters=[4, 8, 8]", "targets.offsets=[[-1,0,0],[0,-1,0],[0,0,-1]]"]
    changes += ["export.margin=[4, 4, 4]", "truth.rounds=2"]
    values = apply_overrides(read_toml(RECIPES / "xpress.toml"), changes)
    model = find_model(train(TrainSettings.parse(values), tmp_path / "run"))
    assert model.contract.modality == "xray"
    assert model.contract.segmentation["linkage"] == "median"
    with np.load(tmp_path / "run/pseudo-2.npz") as kept:
        assert kept["labels0000"].shape == (48, 48, 48)
