"""Translations: losses that do what they say, and a toy run from pairs to a calibrated model."""

import csv
import json

import h5py
import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from connectomics.errors import InputError, ModelError, SettingsError
from connectomics.inference.passes import plan_passes
from connectomics.networks.build import build_network
from connectomics.networks.checkpoint import load_network, save_model
from connectomics.networks.contract import Contract, NetworkSettings, Normalisation
from connectomics.networks.models import find_model
from connectomics.training import callbacks
from connectomics.training.pair_loading import make_pair
from connectomics.training.settings import TrainSettings
from connectomics.training.train import train
from connectomics.training.translation_losses import (
    Adversary,
    MembraneLoss,
    gaussian_nll,
    make_discriminator,
    register,
    structure_loss,
)
from connectomics.training.translation_validation import score_translation, translate_pair

SMALL = {"filters": [4, 8, 8], "res_block": True, "fine_features": 4}


@pytest.fixture
def toy(cells, tmp_path) -> TrainSettings:
    """A run of 16 steps: 20^3 noisy, coarse voxels to 40^3."""
    with h5py.File(cells) as file:
        em = file["raw"][:]
    noise = np.random.default_rng(0).normal(0, 8, (20, 20, 20))
    with h5py.File(tmp_path / "pair.h5", "w") as file:
        file["em"], file["xray"] = em, em.reshape(20, 2, 20, 2, 20, 2).mean((1, 3, 5)) + noise
    pair = {"raw": "pair.h5/xray", "target": "pair.h5/em"}
    return TrainSettings.parse(
        {
            "steps": 16,
            "crop": [8, 8, 8],
            "batch": 2,
            "device": "cpu",
            "log_every": 4,
            "checkpoint_every": 8,
            "data": {
                "root": str(tmp_path),
                "voxel_size": [20, 20, 20],
                "modality": "xray",
                "pairs": [{**pair, "region": [[0, 12], [0, 20], [0, 20]]}],
            },
            "network": {"name": "DynUNet", "parameters": SMALL, "upsample": [2, 2, 2]},
            "translation": {},
            "optimiser": {"lr": 1e-2, "ema": 0.9},
            "augment": {"noise": 0.1},
            "validation": {"pairs": [{**pair, "region": [[12, 20], [0, 20], [0, 20]]}]},
            "export": {"name": "toy", "margin": [2, 2, 2], "half_precision": False},
        }
    )


def _changed(settings, **changes):
    values = json.loads(settings.model_dump_json())
    for key, value in changes.items():
        *parents, leaf = key.split("__")
        table = values
        for parent in parents:
            table = table[parent]
        table[leaf] = value
    return TrainSettings.parse(values)


def _rows(folder):
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


# --- losses ------------------------------------------------------------------------------------------------


def test_a_shifted_target_costs_nothing_within_the_tolerance():
    torch.manual_seed(0)
    truth = torch.randn(2, 1, 12, 12, 12)
    shifted = torch.roll(truth, (1, -1), (2, 4))

    def cost(target, tolerance):
        seen, there, shift = register(truth, target, tolerance, price=0.001)
        return float((seen - there).abs().mean()), shift.tolist()

    aligned, none = cost(truth, 1)
    assert (aligned, none) == (0, [[0, 0, 0]] * 2)
    assert cost(shifted, 1) == (0, [[1, 0, -1]] * 2)
    assert cost(shifted, 0)[0] > 0.5


def test_each_crop_has_its_own_shift_and_small_gains_do_not_pay():
    torch.manual_seed(0)
    truth = torch.randn(2, 1, 12, 12, 12)
    target = torch.cat([truth[:1], torch.roll(truth[1:], 1, 3)])
    assert register(truth, target, 1, 0.001)[2].tolist() == [[0, 0, 0], [0, 1, 0]]
    assert register(truth, target, 1, 100.0)[2].tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_likelihood_finds_mean_and_variance(beta):
    torch.manual_seed(0)
    deviation = torch.tensor([0.3, 1.5])[:, None]
    target = 2.0 + deviation * torch.randn(2, 4000)
    mean, logarithm = torch.zeros(2, 1, requires_grad=True), torch.zeros(2, 1, requires_grad=True)
    optimiser = torch.optim.Adam([mean, logarithm], 0.05)
    for _ in range(300):
        optimiser.zero_grad()
        gaussian_nll(mean.expand(2, 4000), logarithm.expand(2, 4000), target, beta).backward()
        optimiser.step()
    torch.testing.assert_close(torch.exp(0.5 * logarithm.detach()), deviation, rtol=0.05, atol=0.0)
    torch.testing.assert_close(mean.detach(), torch.full((2, 1), 2.0), rtol=0.05, atol=0.0)


def test_structure_counts_what_is_alike():
    torch.manual_seed(0)
    image = torch.randn(1, 1, 16, 16, 16)
    near = image + 0.1 * torch.randn_like(image)
    assert structure_loss(image, image, (0,)) < 1e-4
    assert structure_loss(near, image, (0,)) < 0.2
    assert structure_loss(torch.randn_like(image), image, (0,)) > 0.5
    with torch.autocast("cpu", torch.bfloat16):  # as in training; differences of squares must not be rounded
        inside = structure_loss(near, image, (0,))
    assert inside.dtype == torch.float32
    assert inside == structure_loss(near, image, (0,))


def test_structure_is_looked_at_everywhere():
    torch.manual_seed(0)
    real, seen = torch.randn(1, 1, 40, 40, 40), torch.zeros(40, 40, 40)
    for step in range(20):
        other = torch.zeros_like(real, requires_grad=True)
        structure_loss(other, real, (7, step)).backward()
        seen += other.grad[0, 0] != 0
    assert seen[20, 20, 20] == 20
    assert all(0 < face.max() < 20 for face in (seen[0], seen[-1], seen[:, :, 0], seen[:, :, -1]))


@pytest.fixture
def em_model(tmp_path):
    settings = NetworkSettings(name="DynUNet", parameters={"filters": [4, 8, 8]})
    contract = Contract.parse(
        {
            "name": "em",
            "network": settings.model_dump(),
            "heads": [{"kind": "affinities", "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]}],
            "voxel_size": [10, 10, 10],
            "modality": "em",
            "normalisation": {"kind": "fixed", "mean": 100, "std": 20},
            "margin": [2, 2, 2],
            "divisor": [4, 4, 4],
        }
    )
    torch.manual_seed(0)
    return str(save_model(tmp_path / "em", build_network(settings, 1, 3), contract))


def test_membranes_are_seen_through_the_frozen_network(em_model):
    loss = MembraneLoss([em_model], (10, 10, 10), Normalisation(mean=120, std=30), (8, 8, 8))
    torch.manual_seed(0)
    real, other = torch.randn(1, 1, 12, 12, 12), torch.randn(1, 1, 12, 12, 12, requires_grad=True)
    least = float(loss(real, real, (0, 1)))
    assert loss(other, real, (0, 1)) > least
    loss(other, real, (0, 1)).backward()
    assert other.grad.abs().sum() > 0
    network = load_network(find_model(em_model))
    grey = 30 * real[..., 2:10, 2:10, 2:10] + 120
    logits = network((grey - 100) / 20).detach()
    inside = real[..., 2:10, 2:10, 2:10]  # as large as the crop: one place to look at
    expected = binary_cross_entropy_with_logits(logits, torch.sigmoid(logits))
    torch.testing.assert_close(loss(inside, inside, (0, 1)), expected)


def test_membranes_are_seen_through_every_network_at_random(em_model, tmp_path):
    found = find_model(em_model)
    torch.manual_seed(5)
    other = build_network(found.contract.network, 1, 3)
    networks = [em_model, str(save_model(tmp_path / "other", other, found.contract))]
    grey = Normalisation(mean=120, std=30)
    alone = [MembraneLoss([name], (10, 10, 10), grey, (8, 8, 8)) for name in networks]
    both = MembraneLoss(networks, (10, 10, 10), grey, (8, 8, 8))
    images = torch.randn(2, 1, 1, 8, 8, 8)
    values = [float(loss(*images, (0, 0))) for loss in alone]
    seen = [float(both(*images, (3, step))) for step in range(40)]
    assert set(seen) == set(values) and values[0] != values[1]
    assert 10 < seen.count(values[0]) < 30
    assert seen == [float(both(*images, (3, step))) for step in range(40)]


def test_membranes_are_looked_at_in_another_place_at_every_step(em_model):
    loss = MembraneLoss([em_model], (10, 10, 10), Normalisation(mean=120, std=30), (8, 8, 8))
    real, seen = torch.zeros(1, 1, 12, 12, 12), torch.zeros(12, 12, 12, dtype=torch.bool)
    places = set()
    for step in range(60):
        other = real.clone().requires_grad_()
        loss(other, torch.randn(1, 1, 12, 12, 12), (7, step)).backward()
        here = other.grad[0, 0] != 0
        index = here.nonzero()
        low, high = index.min(0).values, index.max(0).values
        assert (high - low < 8).all()
        places.add(tuple(low.tolist()))
        seen |= here
    assert len(places) > 20 and seen[0].any() and seen[-1].any() and seen[..., 0].any()
    torch.manual_seed(1)
    one, other = torch.randn(2, 1, 1, 12, 12, 12)
    found = [float(loss(one, other, (7, step))) for step in (3, 3, 4)]
    assert found[0] == found[1] != found[2]


def test_a_membrane_network_must_fit(em_model):
    grey = Normalisation(mean=120, std=30)
    with pytest.raises(SettingsError, match="multiples"):
        MembraneLoss([em_model], (10, 10, 10), grey, (7, 8, 8))
    with pytest.raises(SettingsError, match="does not fit"):
        MembraneLoss([em_model], (10, 10, 10), grey, (8, 8, 8)).check_crop((6, 8, 8))
    with pytest.raises(ModelError, match=r"^translation.membrane_model no-such: no such model"):
        MembraneLoss(["no-such"], (10, 10, 10), grey, (8, 8, 8))
    with pytest.raises(SettingsError, match="membrane_model"):
        TrainSettings.parse({"translation": {"membrane": 1}, "steps": 1})
    with pytest.raises(SettingsError, match="membrane_model"):
        TrainSettings.parse({"translation": {"membrane": 1, "membrane_model": []}, "steps": 1})


def test_the_adversary_learns_to_tell_and_its_network_is_left_alone():
    torch.manual_seed(0)
    adversary = Adversary(make_discriminator(4, 1), 1e-2)
    fake = torch.zeros(2, 1, 16, 16, 16, requires_grad=True)
    told = []
    for _ in range(15):
        fooled, loss = adversary(fake, torch.randn(2, 1, 16, 16, 16))
        told.append(float(loss))
    assert told[-1] < 0.5 * told[0]
    fooled.backward()
    assert fake.grad.abs().sum() > 0
    assert all(p.grad is None or not p.requires_grad for p in adversary._discriminator.parameters())


# --- scores and passes -------------------------------------------------------------------------------------


class _Nearest(torch.nn.Module):
    """Repeats each input voxel; a variance of a quarter."""

    def forward(self, image):
        fine = image.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
        return torch.cat([fine, torch.full_like(fine, np.log(0.25))], 1)


def _blocky(seed=0):
    raw = np.random.default_rng(seed).normal(100, 20, (9, 8, 7)).astype(np.float32)
    return make_pair(raw, np.kron(raw, np.ones((2, 2, 2), np.float32)))


def test_a_pair_is_translated_whole_and_scored(toy):
    source = _blocky()
    mean, aleatoric, epistemic, truth = translate_pair([_Nearest()], source, toy, plan_passes(1, 1, False))
    np.testing.assert_allclose(mean, truth, atol=1e-4)
    np.testing.assert_allclose(aleatoric, 0.5, rtol=1e-5)
    assert not epistemic.any()
    scores = score_translation(_Nearest(), [source], toy)
    assert scores["l1"] < 1e-4
    assert scores["ssim"] > 0.999
    assert scores["misregistration"] == 0
    assert scores["nll"] == pytest.approx(0.5 * np.log(2 * np.pi * 0.25), abs=1e-3)


def test_misregistration_is_measured(toy):
    random = np.random.default_rng(0)
    raw = random.normal(100, 20, (12, 12, 12)).astype(np.float32)
    target = np.roll(np.kron(raw, np.ones((2, 2, 2), np.float32)), 2, 1)
    scores = score_translation(_Nearest(), [make_pair(raw, target)], toy)
    assert scores["misregistration"] == pytest.approx(2, abs=0.1)


# --- runs --------------------------------------------------------------------------------------------------


def test_a_run_learns_and_writes_a_calibrated_model(toy, tmp_path):
    model = find_model(train(_changed(toy, translation__samples=4), tmp_path / "run"))
    contract = model.contract
    losses = [float(row["loss_l1"]) for row in _rows(tmp_path / "run") if row["loss_l1"]]
    assert losses[-1] < 0.9 * losses[0]
    assert contract.translates
    assert [head.kind for head in contract.heads] == ["intensity", "log_variance"]
    assert contract.network.upsample == (2, 2, 2)
    with h5py.File(tmp_path / "pair.h5") as file:
        assert contract.output_normalisation.mean == pytest.approx(file["em"][:24].mean())
    assert contract.uncertainty.samples == 4
    assert contract.output_dtype == "uint8"
    assert set(contract.uncertainty.intervals) == {"0.5", "0.8", "0.9", "0.95"}
    scores = contract.scores
    assert {"validation_l1", "validation_psnr", "validation_nll", "validation_misregistration"} <= set(scores)
    assert scores["validation_coverage_0.9"] == pytest.approx(0.9, abs=0.04)
    assert load_network(model)(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 2, 16, 16, 16)
    assert train(_changed(toy, translation__samples=4), tmp_path / "run") == model.weights.parent


def test_an_ensemble_resumes_and_becomes_one_model(toy, tmp_path, monkeypatch):
    settings = _changed(toy, members=2, steps=6)

    class Stopped(RuntimeError):
        pass

    def stop(self, trainer, pl_module, outputs, batch, batch_idx):
        if pl_module.settings.seed == 1 and trainer.global_step == 3:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Validation, "on_train_batch_end", stop)
        with pytest.raises(Stopped):
            train(settings, tmp_path / "run")
    assert not (tmp_path / "run/model").exists()
    first = (tmp_path / "run/member-0/network/weights.safetensors").stat().st_mtime_ns
    model = find_model(train(settings, tmp_path / "run"))
    assert (tmp_path / "run/member-0/network/weights.safetensors").stat().st_mtime_ns == first
    assert model.contract.members == 2
    a, b = (load_network(model, member).state_dict() for member in range(2))
    assert not all(torch.equal(a[name], b[name]) for name in a)
    alone = find_model(train(_changed(toy, seed=1, steps=6), tmp_path / "alone"))
    c = load_network(alone).state_dict()
    assert all(torch.equal(b[name], c[name]) for name in b)


def test_every_loss_can_be_switched_on_and_the_run_resumed(toy, em_model, tmp_path, monkeypatch):
    losses = {"ssim": 0.5, "membrane": 0.5, "membrane_model": em_model, "membrane_crop": [8, 8, 8]}
    losses |= {"adversarial": 0.1, "discriminator_channels": 4, "discriminator_layers": 1, "nll": 0}
    settings = _changed(toy, translation=losses, steps=8, checkpoint_every=4, log_every=1)

    def stop(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 5:
            raise RuntimeError("stopped")

    whole = find_model(train(settings, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Validation, "on_train_batch_end", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            train(settings, tmp_path / "broken")
    again = find_model(train(settings, tmp_path / "broken"))
    a, b = load_network(whole).state_dict(), load_network(again).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    row = _rows(tmp_path / "whole")[0]
    shown = {name for name in row if name.startswith("loss") and row[name]}
    expected = {"l1", "ssim", "membrane", "adversarial", "discriminator"}
    assert shown == {"loss"} | {f"loss_{name}" for name in expected}
    assert [head.kind for head in whole.contract.heads] == ["intensity"]


def test_a_run_tells_what_does_not_belong_together(toy, tmp_path):
    with pytest.raises(SettingsError, match=r"add a \[translation\] section"):
        _changed(toy, translation=None)
    with pytest.raises(SettingsError, match="upsample"):
        _changed(toy, translation=None, data__pairs=[], validation__pairs=[])
    with pytest.raises(SettingsError, match="learns from"):
        _changed(toy, data__volumes=[{"raw": "a", "labels": "b"}])
    with pytest.raises(SettingsError, match="calibration_phantoms"):
        _changed(toy, validation__calibration_phantoms=[{}])
    with pytest.raises(SettingsError, match="mining"):
        _changed(toy, mining__share=0.5)
    with pytest.raises(InputError, match="no pairs"):
        train(_changed(toy, data__pairs=[]), tmp_path / "run")


def test_without_held_out_pairs_nothing_is_calibrated(toy, tmp_path, caplog):
    model = find_model(train(_changed(toy, validation__pairs=[], steps=2), tmp_path / "run"))
    assert model.contract.uncertainty is None
    assert "not calibrated" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": {"erosion": 1}}, "targets: is for networks that segment"),
        ({"truth": {"radius": 50}}, "truth: is for"),
        ({"translation": {"samples": 9}}, "samples: without network.dropout"),
    ],
)
def test_what_means_nothing_to_a_translation_is_refused_before_the_training(toy, changes, message):
    values = toy.model_dump(mode="json", exclude_unset=True)
    values["network"].pop("dropout", None)
    for section, change in changes.items():
        values[section] = values.get(section, {}) | change
    with pytest.raises(SettingsError, match=message):
        TrainSettings.parse(values)
