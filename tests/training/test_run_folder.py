"""A training run takes its folder, leaves it as it was where the input is wrong, and takes no one else's."""

import json

import numpy as np
import pytest

from connectomics.errors import InputError, OutputExistsError
from connectomics.networks.models import find_model
from connectomics.training.run_folder import RECORD, claim
from connectomics.training.settings import TargetSettings, TrainSettings
from connectomics.training.train import train


def changed(settings, **changes):
    """The settings with whole sections, or keys of sections, replaced."""
    values = json.loads(settings.model_dump_json())
    for section, given in changes.items():
        values[section] = {**(values[section] or {}), **given} if isinstance(given, dict) else given
    return TrainSettings.parse(values)


def kind_of_run(toy, kind):
    """The toy run as one of several kinds; each of them fails where its data are not there."""
    if kind == "affinities":
        return toy
    if kind == "detector":
        return changed(toy, targets={"detector": True, "lsd": False})
    pairs = [{"raw": "cells.h5/raw", "target": "cells.h5/raw"}]
    return changed(
        toy,
        translation={},
        targets=TargetSettings().model_dump(),
        data={"volumes": [], "pairs": pairs},
        validation={"volumes": []},
        members=2 if kind == "ensemble" else 1,
    )


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("kind", ["affinities", "detector", "translation", "ensemble"])
def test_wrong_data_leave_the_place_to_the_corrected_run(toy, tmp_path, kind, existed):
    out = tmp_path / "run"
    if existed:  # with what may lie beside a run
        out.mkdir()
        (out / "recipe.toml").touch()
    settings = kind_of_run(toy, kind)
    with pytest.raises(InputError, match="nodata"):
        train(changed(settings, data={"root": "/nodata"}), out)
    assert list(tmp_path.rglob("*")) == ([out, out / "recipe.toml"] if existed else [])
    assert claim(out, settings) is False


def test_the_corrected_run_learns_what_it_would_have(toy, tmp_path):
    with pytest.raises(InputError, match="start_from"):  # said when the phantoms lie there already
        train(toy.model_copy(update={"start_from": str(tmp_path / "nowhere")}), tmp_path / "run")
    assert find_model(train(toy, tmp_path / "run")).contract.name == "toy"


def test_what_was_learnt_outlives_a_later_error(toy, tmp_path, monkeypatch):
    def refuse(*arguments, **named):
        raise InputError("no such place")

    with monkeypatch.context() as patch:
        patch.setattr("connectomics.training.train.save_model", refuse)
        with pytest.raises(InputError, match="no such place"):
            train(toy, tmp_path / "run")
    before = (tmp_path / "run/last.ckpt").stat().st_mtime_ns
    with pytest.raises(OutputExistsError, match="seed"):
        train(toy.model_copy(update={"seed": 3}), tmp_path / "run")
    train(toy, tmp_path / "run")
    assert (tmp_path / "run/last.ckpt").stat().st_mtime_ns == before, "nothing was left to learn"


def test_a_folder_of_something_else_is_refused_and_left_alone(toy, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "slice.tif").write_bytes(np.zeros(10).tobytes())
    for place in (images, images / "slice.tif"):
        with pytest.raises(OutputExistsError, match="something else than a training run"):
            train(toy, place)
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "slice.tif"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b"\xff\xfe"])
def test_a_damaged_record_is_said_in_one_line(toy, tmp_path, damage):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/settings.json").write_bytes(damage)
    with pytest.raises(OutputExistsError, match=r"damaged.*another --output"):
        train(toy, tmp_path / "run")
    assert (tmp_path / "run/settings.json").read_bytes() == damage


@pytest.mark.parametrize("method", ["pseudo", "tubes"])
def test_rounds_from_before_certainty_named_whole_fragments(toy, tmp_path, method):
    out = tmp_path / "run"
    whole, doubting = (changed(toy, truth={"method": method, "certainty": value}) for value in (0.0, 0.7))
    claim(out, whole)
    record = json.loads((out / RECORD).read_text())
    del record["truth"]["certainty"]
    (out / RECORD).write_text(json.dumps(record))
    assert claim(out, whole) is False
    (out / RECORD).write_text(json.dumps(record))
    if method == "pseudo":
        with pytest.raises(OutputExistsError, match="truth"):
            claim(out, doubting)
    else:
        assert claim(out, doubting) is False


def test_a_default_that_changed_does_not_end_a_run_that_it_is_nothing_to(toy, tmp_path):
    out = tmp_path / "run"
    claim(out, toy)
    record = json.loads((out / RECORD).read_text())
    record["truth"]["painted_share"] = 0.5  # as it was once, of all runs
    (out / RECORD).write_text(json.dumps(record))
    assert claim(out, toy) is False
    traced = changed(toy, data={"volumes": [toy.data.volumes[0].model_dump() | {"skeletons": "s.npz"}]})
    claim(tmp_path / "traced", traced)
    (tmp_path / "traced" / RECORD).write_text(
        json.dumps(json.loads((tmp_path / "traced" / RECORD).read_text()) | {"truth": record["truth"]})
    )
    with pytest.raises(OutputExistsError, match="truth"):
        claim(tmp_path / "traced", traced)
