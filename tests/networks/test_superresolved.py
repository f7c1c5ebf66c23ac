"""Networks that answer on a finer grid: shapes, phase, cutting channels, folding, dropout, ensembles."""

import pytest
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from connectomics.errors import ModelError, SettingsError
from connectomics.inference.fold import fold_batch_norm
from connectomics.inference.footprint import tensor_bytes_per_voxel
from connectomics.networks.build import ARCHITECTURES, build_network, divisor_of, keep_channels
from connectomics.networks.checkpoint import load_network, save_model
from connectomics.networks.contract import Contract, NetworkSettings
from connectomics.networks.folded import fold, unfold
from connectomics.networks.models import find_model

SMALL = {
    "DynUNet": {"filters": [4, 8, 8], "res_block": True},
    "FoldedUNet": {"filters": [4, 8, 8], "res_block": True, "fold": 2},
    "BasicUNet": {"features": [4, 4, 8, 8, 8, 4]},
    "SegResNet": {"init_filters": 4, "blocks_down": [1, 1]},
    "MedNeXt": {"init_filters": 4, "kernel_size": 3, "blocks_down": [1, 1, 1, 1], "blocks_up": [1, 1, 1, 1]},
    "ReversibleUNet": {"filters": [4, 8, 8], "blocks": 1},
}
SETTINGS = NetworkSettings(name="DynUNet", parameters=SMALL["DynUNet"], upsample=(2, 3, 3), dropout=0.3)


def _moved(settings, seed=0):
    """A network whose norms have seen data, in evaluation mode."""
    torch.manual_seed(seed)
    network = build_network(settings, 1, 2)
    for _ in range(3):
        network(torch.randn(2, 1, *(2 * d for d in divisor_of(settings))))
    return network.eval()


def _contract(members=1, settings=SETTINGS):
    return Contract(
        name="toy",
        network=settings,
        heads=({"kind": "intensity"}, {"kind": "log_variance"}),
        voxel_size=(30, 30, 30),
        modality="xray",
        normalisation={},
        output_normalisation={"mean": 120, "std": 30},
        members=members,
        margin=(4, 4, 4),
        divisor=divisor_of(settings),
    )


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_network_answers_finer_folds_and_drops(name):
    settings = NetworkSettings(name=name, parameters=SMALL[name], upsample=(1, 2, 3), dropout=0.3)
    network, divisor = _moved(settings), divisor_of(settings)
    assert divisor == divisor_of(NetworkSettings(name=name, parameters=SMALL[name]))
    image = torch.randn(1, 1, *divisor)
    folded = fold_batch_norm(network, 1, divisor)
    with torch.inference_mode():
        expected = network(image)
        assert expected.shape == (1, 2, divisor[0], 2 * divisor[1], 3 * divisor[2])
        torch.testing.assert_close(folded(image), expected, atol=1e-4, rtol=1e-3)
        dropouts = [module for module in folded.modules() if isinstance(module, _DropoutNd)]
        for module in dropouts:
            module.train()
        assert dropouts and (folded(image) - expected).abs().max() > 1e-4
    assert tensor_bytes_per_voxel(network, 1, divisor) > 6 * 4 * 8


@pytest.mark.parametrize("name", ["DynUNet", "FoldedUNet", "BasicUNet"])
def test_folding_leaves_what_is_dropped_as_it_was(name):
    settings = NetworkSettings(name=name, parameters=SMALL[name], upsample=(2, 2, 2), dropout=0.3)
    network, divisor = _moved(settings), divisor_of(settings)
    folded = fold_batch_norm(network, 1, divisor)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())
    image, results = torch.randn(1, 1, *divisor), []
    for one in (network, folded):
        for module in one.modules():
            if isinstance(module, _DropoutNd):
                module.train()
        torch.manual_seed(5)
        with torch.inference_mode():
            results.append(one(image))
    torch.testing.assert_close(results[1], results[0], atol=1e-4, rtol=1e-3)


def test_folding_stops_where_dropout_lies_between():
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Dropout3d(0.5), nn.BatchNorm3d(2), nn.Conv3d(2, 2, 1))
    folded = fold_batch_norm(network, 1, (4, 4, 4))
    assert isinstance(folded[2], nn.BatchNorm3d)


def test_a_fine_voxel_sees_its_own_place():
    """The interpolated input alone, passed through: no shift between the grids."""
    network = _moved(SETTINGS)
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.zero_()
        network.output.weight[0, -1, 1, 1, 1] = 1
        ramp = torch.arange(8.0)[None, None, :, None, None].expand(1, 1, 8, 8, 8)
        got = network(ramp)[0, 0, 2:-2, 12, 12]
    torch.testing.assert_close(got, (torch.arange(16.0)[2:-2] + 0.5) / 2 - 0.5)


def test_cutting_channels_keeps_the_others():
    network = _moved(SETTINGS)
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        expected = network(image)
        assert torch.equal(keep_channels(network, SETTINGS, [1])(image), expected[:, 1:])


def test_unfold_is_the_inverse_of_fold():
    image = torch.randn(2, 3, 4, 6, 10)
    folded = fold(image, (2, 3, 5))
    assert folded.shape == (2, 90, 2, 2, 2)
    assert torch.equal(unfold(folded, (2, 3, 5)), image)
    assert torch.equal(folded[0, :, 1, 0, 1].reshape(3, 2, 3, 5), image[0, :, 2:4, 0:3, 5:10])


def test_upsampling_by_nothing_is_refused():
    with pytest.raises(SettingsError, match="at least 1"):
        NetworkSettings.parse({"upsample": [0, 1, 1]})


def test_members_of_an_ensemble_come_back_each_as_it_was(tmp_path):
    networks = [_moved(SETTINGS, seed) for seed in range(3)]
    model = find_model(save_model(tmp_path / "toy", networks, _contract(3)))
    assert [path.name for path in model.all_weights] == [
        "weights.safetensors", "weights-1.safetensors", "weights-2.safetensors",
    ]  # fmt: skip
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        for number, network in enumerate(networks):
            torch.testing.assert_close(load_network(model, number)(image), network(image))
    with pytest.raises(ModelError, match="no number 3"):
        load_network(model, 3)


def test_every_member_belongs_to_a_models_identity(tmp_path):
    networks = [_moved(SETTINGS, seed) for seed in range(3)]
    first = find_model(save_model(tmp_path / "a", networks[:2], _contract(2)))
    second = find_model(save_model(tmp_path / "b", [networks[0], networks[2]], _contract(2)))
    assert first.weights.read_bytes() == second.weights.read_bytes()
    assert first.sha256 != second.sha256
    (tmp_path / "b" / "weights-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"without weights-1\.safetensors"):
        find_model(tmp_path / "b")


def test_as_many_networks_as_members(tmp_path):
    with pytest.raises(ModelError, match="1 networks for a contract of 2"):
        save_model(tmp_path / "toy", _moved(SETTINGS), _contract(2))
    assert not (tmp_path / "toy").exists()
