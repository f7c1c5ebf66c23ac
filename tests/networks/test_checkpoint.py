"""Weights come back exactly, and only into the architecture they belong to."""

import dataclasses

import pytest
import torch
from torch import nn

from connectomics.errors import ModelError
from connectomics.networks.bottleneck import VoxelNorm
from connectomics.networks.build import ARCHITECTURES, build_network, divisor_of
from connectomics.networks.checkpoint import load_network, save_model
from connectomics.networks.contract import Contract, NetworkSettings
from connectomics.networks.cost import count_parameters, reach
from connectomics.networks.heads import lasting_channels, split_heads
from connectomics.networks.models import check_fits, check_task, find_model, list_models, suggest_models

NEAR = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
SMALL = {
    "DynUNet": {"filters": [4, 8, 8], "res_block": True},
    "FoldedUNet": {"filters": [4, 8, 8], "res_block": True, "fold": 2},
    "BasicUNet": {"features": [4, 4, 8, 8, 8, 4]},
    "SegResNet": {"init_filters": 4, "blocks_down": [1, 1]},
    "MedNeXt": {"init_filters": 4, "kernel_size": 3, "blocks_down": [1, 1, 1, 1], "blocks_up": [1, 1, 1, 1]},
    "ReversibleUNet": {"filters": [4, 8, 8], "blocks": 1},
}


def _contract(name="DynUNet", heads=None):
    return Contract.parse(
        {
            "name": "toy",
            "network": {"name": name, "parameters": SMALL[name]},
            "heads": heads or [{"kind": "affinities", "offsets": NEAR}, {"kind": "lsd", "auxiliary": True}],
            "voxel_size": [10, 10, 10],
            "modality": "em",
            "normalisation": {},
            "margin": [4, 4, 4],
            "divisor": list(divisor_of(NetworkSettings(name=name, parameters=SMALL[name]))),
        }
    )


def _network(contract):
    torch.manual_seed(0)
    network = build_network(contract.network, 1, contract.out_channels)
    network(torch.randn(2, 1, *(2 * d for d in contract.divisor)))  # moves the norms' statistics
    return network.eval()


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_saved_model_computes_what_it_did_without_its_auxiliary_head(name, tmp_path):
    contract = _contract(name)
    network = _network(contract)
    image = torch.randn(1, 1, *(2 * d for d in contract.divisor))
    with torch.inference_mode():
        expected = network(image)
        assert expected.shape == (1, 13, *image.shape[2:])
        save_model(tmp_path / "toy", network, contract)
        got = load_network(find_model(tmp_path / "toy"))(image)
        torch.testing.assert_close(got, expected[:, :3], atol=1e-6, rtol=1e-5)
        assert network(image).shape[1] == 13  # the one in hand is left as it was


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_networks_have_norms_that_know_no_tile(name):
    kinds = {type(module) for module in _network(_contract(name)).modules()}
    assert kinds & {nn.BatchNorm3d, VoxelNorm}
    assert not kinds & {nn.GroupNorm, nn.InstanceNorm3d, nn.LayerNorm}


def test_half_precision_is_close_and_half_the_size(tmp_path):
    contract = _contract()
    network = _network(contract)
    sizes = [
        (save_model(tmp_path / str(half), network, contract, half_precision=half) / "weights.safetensors")
        for half in (False, True)
    ]
    assert sizes[1].stat().st_size < 0.75 * sizes[0].stat().st_size
    image = torch.randn(1, 1, 16, 16, 16)
    a, b = (load_network(find_model(path.parent))(image) for path in sizes)
    assert 0 < (a - b).abs().max() < 0.05


def test_weights_of_another_architecture_are_refused(tmp_path):
    save_model(tmp_path / "toy", _network(_contract()), _contract())
    other = tmp_path / "other"
    save_model(other, _network(_contract("BasicUNet")), _contract("BasicUNet"))
    (other / "weights.safetensors").write_bytes((tmp_path / "toy" / "weights.safetensors").read_bytes())
    with pytest.raises(ModelError, match="not the weights"):
        load_network(find_model(other))


@pytest.mark.parametrize("keep", [0, 7, 500])
def test_damaged_weights_are_refused(tmp_path, keep):
    folder = save_model(tmp_path / "toy", _network(_contract()), _contract())
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(ModelError, match="damaged"):
        load_network(find_model(folder))


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    network = _network(_contract())
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        save_model(tmp_path / "toy", network, _contract())
    assert not (tmp_path / "toy").exists()


def test_a_model_needs_a_lasting_head(tmp_path):
    contract = _contract(heads=[{"kind": "lsd", "auxiliary": True}])
    with pytest.raises(ModelError, match="auxiliary"):
        save_model(tmp_path / "toy", _network(contract), contract)


def test_heads_split_the_channels():
    heads = _contract().heads
    affinities, descriptors = split_heads(torch.zeros(1, 13, 2, 2, 2), heads)
    assert (affinities.shape[1], descriptors.shape[1]) == (3, 10)
    assert lasting_channels(heads) == [0, 1, 2]
    with pytest.raises(ModelError, match="13"):
        split_heads(torch.zeros(1, 12, 2, 2, 2), heads)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [("DynNet", {}, "DynUNet"), ("DynUNet", {"filters": [4]}, "built"), ("SegResNet", {"depth": 3}, "built")],
)
def test_networks_that_cannot_be_built_are_model_errors(name, parameters, message):
    with pytest.raises(ModelError, match=message):
        build_network(NetworkSettings(name=name, parameters=parameters), 1, 3)


def test_models_are_found_by_path_and_misses_are_explained(tmp_path):
    folder = save_model(tmp_path / "toy", _network(_contract()), _contract())
    model = find_model(folder)
    assert find_model(folder / "contract.json").sha256 == model.sha256
    for missing in ("no-such-model", tmp_path):
        with pytest.raises(ModelError):
            find_model(missing)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="incomplete"):
        find_model(folder)


def test_shipped_models_load_and_are_small():
    for model in list_models():
        assert model.weights.stat().st_size < 20e6
        assert find_model(model.contract.name).sha256 == model.sha256
        network = load_network(model)
        with torch.inference_mode():
            edges = [2 * d for d in model.contract.divisor]
            assert network(torch.zeros(1, 1, *edges)).shape[1] == model.contract.out_channels


def test_a_voxel_size_that_does_not_fit_names_the_factor(tmp_path):
    model = find_model(save_model(tmp_path / "toy", _network(_contract()), _contract()))
    check_fits(model, (10, 10.5, 9.5))
    with pytest.raises(ModelError, match=r"2 x 1 x 1.*--rescale"):
        check_fits(model, (20, 10, 10))


def test_what_does_not_fit_names_shipped_models_that_do(tmp_path):
    contract = _contract()
    affinities = find_model(save_model(tmp_path / "toy", _network(contract), contract))
    assert "fib25-em" in suggest_models("affinities", "em", (10, 10, 10))
    assert "fib25-em" not in suggest_models("affinities", "xray") + suggest_models(
        "affinities", "em", (4, 4, 4)
    )
    assert "fib25-em" not in suggest_models("translation") + suggest_models("detector")
    with pytest.raises(ModelError, match=r"translates nothing.*shipped for this"):
        check_task(affinities, translates=True)
    other = contract.model_copy(update={"modality": "em", "voxel_size": (40.0, 4.0, 4.0)})
    with pytest.raises(ModelError, match=r"--rescale.*fits \(fib25-em"):
        check_fits(dataclasses.replace(affinities, contract=other), (10, 10, 10))


def test_a_detector_is_no_model_to_translate_with(tmp_path):
    contract = _contract(heads=[{"kind": "detector"}])
    model = find_model(save_model(tmp_path / "toy", _network(contract), contract))
    assert model.contract.task == "detector"
    check_task(model, translates=False)  # predict writes its channel
    with pytest.raises(ModelError, match="detector of a cascade"):
        check_task(model, translates=True)


def test_cost_counts_parameters_and_reach():
    network = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Conv3d(2, 1, (1, 3, 5), padding=(0, 1, 2)))
    assert count_parameters(network) == 2 * 27 + 2 + 2 * 15 + 1
    assert reach(network, 16) == (1, 2, 3)
