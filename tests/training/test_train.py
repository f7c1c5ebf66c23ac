"""A toy run learns, exports, resumes to the same weights, and refuses what it cannot continue."""

import csv
import json

import h5py
import numpy as np
import pytest
import torch

from connectomics.errors import GeometryError, InputError, OutputExistsError, RunFailed, SettingsError
from connectomics.networks.checkpoint import load_network
from connectomics.networks.contract import NetworkSettings
from connectomics.networks.models import find_model
from connectomics.training import callbacks, module
from connectomics.training.data_settings import PhantomData
from connectomics.training.schedule import rate
from connectomics.training.settings import TrainSettings
from connectomics.training.train import main, train


def _rows(folder):
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_run_learns_and_exports_without_auxiliary_heads(toy, tmp_path):
    model = find_model(train(toy, tmp_path / "run"))
    losses = [float(row["loss"]) for row in _rows(tmp_path / "run") if row["loss"]]
    assert np.mean(losses[-2:]) < 0.9 * losses[0]
    assert [head.kind for head in model.contract.heads] == ["affinities"]
    assert model.contract.training.steps == toy.steps
    assert model.contract.scores["validation_balanced_accuracy"] > 0.5
    connected = model.contract.calibration["voxel_z"]
    assert len(connected) == 256 and connected == sorted(connected) and connected[0] < connected[-1]
    output = load_network(model)(torch.zeros(1, 1, 16, 16, 16))
    assert output.shape == (1, 4, 16, 16, 16)
    assert train(toy, tmp_path / "run") == model.weights.parent  # complete already


def test_the_rate_ends_near_nothing(toy, tmp_path):
    train(toy, tmp_path / "run")
    rates = [float(row["lr"]) for row in _rows(tmp_path / "run") if row["lr"]]
    assert max(rates) > 0.5 * toy.optimiser.lr
    assert rates[-1] < 0.02 * toy.optimiser.lr


def test_no_step_of_a_warm_up_goes_beyond_the_largest_rate():
    rates = [rate(done, warmup) for warmup in (0, 1e-4, 1e-3, 0.1) for done in np.linspace(0, 1, 1001)]
    assert min(rates) >= 0 and max(rates) == 1


def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_one(toy, tmp_path, monkeypatch):
    whole = find_model(train(toy, tmp_path / "whole"))

    class Stopped(RuntimeError):
        pass

    def stop(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 13:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Validation, "on_train_batch_end", stop)
        with pytest.raises(Stopped):
            train(toy, tmp_path / "broken")
    assert not (tmp_path / "broken" / "model").exists()
    assert (tmp_path / "broken" / callbacks.LAST).exists()
    again = find_model(train(toy, tmp_path / "broken"))
    a, b = load_network(whole).state_dict(), load_network(again).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    lr = [[(row["step"], row["lr"]) for row in _rows(tmp_path / run)] for run in ("whole", "broken")]
    assert lr[0] == lr[1]


def test_another_seed_gives_other_weights(toy, tmp_path):
    a = find_model(train(toy, tmp_path / "a"))
    b = find_model(train(toy.model_copy(update={"seed": 1}), tmp_path / "b"))
    assert a.sha256 != b.sha256


def test_time_ends_a_run_with_its_schedule_finished(toy, tmp_path):
    short = toy.model_copy(update={"steps": 10**6, "max_minutes": 0.05, "log_every": 1})
    model = find_model(train(short, tmp_path / "run"))
    rates = [float(row["lr"]) for row in _rows(tmp_path / "run") if row["lr"]]
    assert model.contract.training.steps < 10**5
    assert rates[-1] < 0.2 * max(rates)


def test_a_run_says_on_what_it_trains_and_recommends_nothing(toy, tmp_path, caplog):
    with caplog.at_level("INFO"):
        train(toy, tmp_path / "run")
    assert "training on cpu" in caplog.text and "in float32" in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("lightning")]


def test_other_settings_do_not_continue_a_run(toy, tmp_path):
    train(toy, tmp_path / "run")
    with pytest.raises(OutputExistsError, match="seed"):
        train(toy.model_copy(update={"seed": 3}), tmp_path / "run")


def test_a_setting_that_came_later_does_not_stop_a_run(toy, tmp_path):
    model = train(toy, tmp_path / "run")
    record = tmp_path / "run/settings.json"
    values = json.loads(record.read_text())
    del values["mining"], values["truth"]["rounds"]
    record.write_text(json.dumps(values))
    assert train(toy, tmp_path / "run") == model
    changed = toy.truth.model_copy(update={"rounds": 7})
    with pytest.raises(OutputExistsError, match="truth"):
        train(toy.model_copy(update={"truth": changed}), tmp_path / "run")


def test_crop_must_suit_the_network(toy, tmp_path):
    with pytest.raises(SettingsError, match="crop"):
        train(toy.model_copy(update={"crop": (15, 16, 16)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_data_is_refused(toy, tmp_path):
    empty = toy.model_copy(update={"data": toy.data.model_copy(update={"volumes": ()})})
    with pytest.raises(InputError, match="no volumes"):
        train(empty, tmp_path / "run")


def test_a_region_outside_is_refused(toy, tmp_path):
    volume = toy.data.volumes[0].model_copy(update={"region": ((0, 99), (0, 40), (0, 40))})
    data = toy.data.model_copy(update={"volumes": (volume,)})
    with pytest.raises(GeometryError, match="region"):
        train(toy.model_copy(update={"data": data}), tmp_path / "run")


def test_nothing_outside_the_regions_changes_the_model(toy, cells, tmp_path):
    """The slices between the fitted region and the end are only validated on; beyond them nothing is read."""
    copy = tmp_path / "cells.h5"
    copy.write_bytes(cells.read_bytes())
    with h5py.File(copy, "r+") as file:
        file["raw"][30:] = 0
        file["labels"][30:] = np.random.default_rng(1).integers(1, 5, file["labels"][30:].shape)
    held_out = toy.validation.model_copy(update={"volumes": ()})
    plain = toy.model_copy(update={"validation": held_out})
    spoilt = plain.model_copy(update={"data": toy.data.model_copy(update={"root": str(tmp_path)})})
    a, b = (find_model(train(s, tmp_path / n)) for s, n in ((plain, "a"), (spoilt, "b")))
    assert a.weights.read_bytes() == b.weights.read_bytes()


def test_the_module_runs_from_the_shell(toy, tmp_path, monkeypatch, caplog):
    config = tmp_path / "bad.toml"
    config.write_text("steps = 3\ncrops = [1, 1, 1]\n")
    assert main([str(config), "--output", str(tmp_path / "run")]) == 2
    assert "crop" in caplog.text


def test_settings_survive_json(toy):
    assert TrainSettings.parse(json.loads(toy.model_dump_json())) == toy


def test_a_failing_validation_does_not_lose_the_run(toy, tmp_path, monkeypatch, caplog):
    def broken(*arguments):
        raise ValueError("no score")

    monkeypatch.setattr(module, "validate", broken)
    model = find_model(train(toy, tmp_path / "run"))
    assert model.contract.scores == {}
    assert "validation failed" in caplog.text


def test_steps_whose_gradients_are_not_finite_are_left_out(toy, tmp_path, monkeypatch, caplog):
    real, bad = module.AffinityTraining.training_step, {2, 5}

    def training_step(self, batch, batch_idx):
        loss = real(self, batch, batch_idx)
        return loss * float("nan") if batch_idx in bad else loss

    monkeypatch.setattr(module.AffinityTraining, "training_step", training_step)
    model = find_model(train(toy, tmp_path / "run"))  # saves nothing that is not finite
    assert caplog.text.count("gradients are not finite; left out") == 2 and model.contract.training.steps > 5
    bad |= set(range(10_000))
    with pytest.raises(RunFailed, match="10 times in a row"):
        train(toy, tmp_path / "lost")


def test_a_run_from_before_a_setting_existed_is_continued(toy, tmp_path):
    folder = train(toy, tmp_path / "run")
    record = tmp_path / "run" / "settings.json"
    values = json.loads(record.read_text())
    del values["members"], values["translation"], values["data"]["pairs"]
    record.write_text(json.dumps(values))
    assert train(toy, tmp_path / "run") == folder


def test_a_run_that_stopped_after_its_last_step_is_scored_when_it_goes_on(toy, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("connectomics.training.train.make_contract", stop)
        with pytest.raises(KeyboardInterrupt):
            train(toy, tmp_path / "run")
    went_on = find_model(train(toy, tmp_path / "run")).contract
    straight = find_model(train(toy, tmp_path / "straight")).contract
    assert straight.scores and went_on.scores == straight.scores
    assert went_on.segmentation == straight.segmentation


def test_a_crop_of_which_a_norm_sees_one_value_is_refused(toy, tmp_path):
    alone = toy.model_copy(
        update={
            "crop": (16, 16, 16),
            "batch": 1,
            "network": NetworkSettings(name="BasicUNet", parameters={"features": [4, 4, 4, 4, 4, 4]}),
        }
    )
    with pytest.raises(SettingsError, match="variance"):
        train(alone, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_phantoms_are_not_taken_for_flat_ones(toy, tmp_path):
    phantom = PhantomData(first_seed=1, count=1, shape=(32, 32, 32))
    data = toy.data.model_copy(
        update={"voxel_size": (40.0, 10.0, 10.0), "volumes": (), "phantoms": (phantom,)}
    )
    with pytest.raises(InputError, match="cubes"):
        train(toy.model_copy(update={"data": data}), tmp_path / "run")


def test_a_resumed_run_drops_what_an_uninterrupted_one_drops(toy, tmp_path, monkeypatch):
    toy = toy.model_copy(update={"network": toy.network.model_copy(update={"dropout": 0.3})})
    seen: list[float] = []
    drop = torch.nn.Dropout3d.forward

    def note(self, features):
        dropped = drop(self, features)
        if self.training:
            seen.append(float((dropped == 0).float().mean()))
        return dropped

    monkeypatch.setattr(torch.nn.Dropout3d, "forward", note)
    train(toy, tmp_path / "whole")
    whole, steps = list(seen), 24
    seen.clear()

    class Stopped(RuntimeError):
        pass

    def stop(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 8:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(callbacks.Validation, "on_train_batch_end", stop)
        train(toy, tmp_path / "broken")
    first = len(seen)
    train(toy, tmp_path / "broken")
    layers = len(whole) // steps
    assert first >= 8 * layers and len(set(whole)) > 3
    again = seen[first:]
    assert again == whole[-len(again) :] and len(again) <= len(whole) - 7 * layers


def test_bfloat16_on_a_cpu_needs_sections_enough(toy, tmp_path):
    shallow = toy.model_copy(update={"precision": "bf16", "crop": (8, 16, 16)})
    with pytest.raises(SettingsError, match="sections only 2 to look at"):
        train(shallow, tmp_path / "run")
