"""Ranking: a model's own kind of image is nearest and fits, others do not; what cannot be ranked says why."""

import json
import shutil

import numpy as np
import pytest

from connectomics.adaptation.rank import rank_models, relative_distance
from connectomics.adaptation.settings import RankSettings
from connectomics.blockwise.progress import Silent
from connectomics.errors import ModelError, SettingsError
from connectomics.io.opening import open_volume
from connectomics.networks.contract import FeatureRecord
from connectomics.networks.feature_file import read_features
from connectomics.networks.models import find_model
from tests.adaptation.conftest import save_small

FEW = {"permutations": 99, "crops": 64, "features": "deepest"}


def ranked(location, folders, scores=(), **more):
    models = [find_model(folder) for folder in folders]
    settings = RankSettings(**(FEW | more))
    return rank_models(open_volume(location), models, settings, "cpu", Silent(), scores)


@pytest.mark.parametrize("features", ["deepest", "common"])
@pytest.mark.parametrize("kind", ["cells", "clouds"])
def test_a_models_own_kind_is_nearest(kind, features, images, models):
    report = ranked(f"{images}/{kind}", [models / "cells", models / "clouds"], features=features)
    first, second = report["ranking"]
    assert first["model"].endswith(kind) and (first["fits"] or features == "common")
    assert first["mmd2"] < 0.2 * second["mmd2"]
    assert not second["fits"] and second["p_value"] == pytest.approx(0.01)
    assert second["mmd2_low"] <= second["mmd2"] <= second["mmd2_high"]
    assert report["not_ranked"] == []


def test_a_model_of_more_varied_images_is_not_held_to_less():
    assert relative_distance(0.2, 0.1) < relative_distance(0.1, 0.01)
    assert relative_distance(0.2, -0.1) == pytest.approx(200) and relative_distance(0.2, None) is None


def test_the_order_may_be_relative(images, models):
    folders = [models / "cells", models / "clouds"]
    report = ranked(f"{images}/cells", folders, order="relative")
    values = [row["relative"] for row in report["ranking"]]
    assert values == sorted(values) and report["ranking"][0]["model"].endswith("cells")


def test_none_fits_is_said(images, models):
    alone = ranked(f"{images}/clouds", [models / "cells"])
    assert alone["none_fits"] and alone["advice"].startswith("none fits")
    assert not ranked(f"{images}/cells", [models / "cells"])["none_fits"], "test invalid"


def test_what_has_no_features_is_listed_with_what_makes_them(images, models, tmp_path):
    save_small(tmp_path / "bare")
    report = ranked(f"{images}/cells", [tmp_path / "bare", models / "cells"])
    assert [row["model"] for row in report["ranking"]] == [str(models / "cells")]
    (left,) = report["not_ranked"]
    assert "no features stored" in left["reason"] and "store_features" in left["reason"]


def test_features_of_other_weights_are_not_compared(models, tmp_path):
    shutil.copytree(models / "cells", tmp_path / "changed")
    assert read_features(find_model(tmp_path / "changed")) is not None, "test invalid"
    shutil.copy(save_small(tmp_path / "other") / "weights.safetensors", tmp_path / "changed")
    with pytest.raises(ModelError, match="other weights"):
        read_features(find_model(tmp_path / "changed"))


@pytest.mark.parametrize("damage", [b"", b"nothing of the kind", None])
def test_a_damaged_file_is_one_clear_error(damage, models, tmp_path):
    shutil.copytree(models / "cells", tmp_path / "damaged")
    path = tmp_path / "damaged" / "features.safetensors"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(ModelError, match="cannot be read as features"):
        read_features(find_model(tmp_path / "damaged"))


@pytest.mark.parametrize(
    "name", ["../features.safetensors", "a/b.safetensors", "features.npz", "/x.safetensors"]
)
def test_features_lie_in_the_models_own_folder(name):
    values = {"layer": "bottleneck", "crop": [16, 16, 16], "crops": 9, "weights": "0"}
    FeatureRecord.parse(values)
    with pytest.raises(SettingsError, match="own folder"):
        FeatureRecord.parse(values | {"file": name})


def test_a_volume_of_another_voxel_size_is_resampled_and_says_so(cells, models, tmp_path):
    import h5py

    fine = cells.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    with h5py.File(tmp_path / "fine.h5", "w") as file:
        file.create_dataset("raw", data=fine).attrs["resolution"] = (10, 5, 5)
    (row,) = ranked(f"{tmp_path}/fine.h5/raw", [models / "cells"])["ranking"]
    assert row["rescale"] and row["mmd2"] < 0.05


def test_features_are_small_and_finite(models):
    model = find_model(models / "cells")
    found = read_features(model)
    record = json.loads((models / "cells" / "contract.json").read_text())["features"]
    assert found.deepest.shape == (record["crops"], 16) and found.common.shape[1] == 34
    assert np.isfinite(found.common).all() and len(np.unique(found.group)) > 2
