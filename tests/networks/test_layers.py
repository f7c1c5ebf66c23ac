"""Layers found by watching: every architecture's bottleneck, and how far parameters are from the output."""

import pytest
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from connectomics.errors import ModelError
from connectomics.networks.batch_statistics import renew_statistics
from connectomics.networks.build import ARCHITECTURES, build_network, divisor_of
from connectomics.networks.contract import NetworkSettings
from connectomics.networks.layers import deepest_layer, parameter_depths, watch

SMALL = {
    "DynUNet": {"filters": [4, 8, 16], "res_block": True},
    "FoldedUNet": {"filters": [4, 8, 16], "fold": 2},
    "BasicUNet": {"features": [4, 4, 8, 8, 16, 4]},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1, 1]},
    "MedNeXt": {"init_filters": 4},
    "ReversibleUNet": {"filters": [4, 8, 16], "blocks": 1},
}


def build(name, **more):
    settings = NetworkSettings(name=name, parameters=SMALL[name], **more)
    return build_network(settings, 1, 3), divisor_of(settings)


@pytest.mark.parametrize("name", SMALL)
def test_the_deepest_layer_is_on_the_coarsest_grid(name):
    network, divisor = build(name)
    layer = deepest_layer(network, 1, divisor)
    grids = []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda m, i, o: grids.append(tuple(o.shape[2:]))
    )
    network.eval()(torch.zeros(1, 1, *(3 * d for d in divisor)))
    hook.remove()
    assert grids == [(3, 3, 3)]


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_has_a_depth_and_the_output_has_none(name):
    network, divisor = build(name)
    depths = parameter_depths(network, 1, divisor)
    assert set(depths) == dict(network.named_parameters()).keys()
    output_comes_last = name in ("BasicUNet", "SegResNet", "ReversibleUNet")
    last = list(dict(network.named_parameters()))[-1] if output_comes_last else None
    ordered = sorted(set(depths.values()))
    assert ordered == list(range(len(ordered))) and len(ordered) >= 4
    if last is not None:
        assert depths[last] == 0


def test_the_stages_of_a_u_net_are_its_grids():
    network, divisor = build("DynUNet")
    depths = parameter_depths(network, 1, divisor)
    assert depths["output_block.conv.conv.weight"] == 0
    assert {d for n, d in depths.items() if n.startswith("bottleneck.")} == {2}
    assert {d for n, d in depths.items() if n.startswith("input_block.")} == {4}


def test_watching_leaves_no_trace():
    network, divisor = build("DynUNet")
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    watch(network, 1, divisor)
    assert network.training and all(torch.equal(before[n], v) for n, v in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_grids_has_no_deepest_layer():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(8, 2)

        def forward(self, image):
            return self.line(image.flatten()[:8])

    with pytest.raises(ModelError, match="deepest"):
        deepest_layer(Flat(), 1, (1, 1, 1))


def test_statistics_are_those_of_the_new_images():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm3d(1), nn.Dropout3d(0.5), nn.BatchNorm3d(1)).train()
    batches = [torch.randn(2, 1, 6, 6, 6) * 3 + 5 for _ in range(4)]
    assert renew_statistics(network, batches) == 4
    torch.testing.assert_close(network[0].running_mean[0], torch.stack(batches).mean(), rtol=0, atol=1e-4)
    assert abs(float(network[0].running_var) - 9) < 1
    assert abs(float(network[2].running_var) - 1) < 0.05, "dropout was not left out"
    assert network.training and network[0].momentum == 0.1
    kept = network[0].running_mean.clone()
    assert renew_statistics(network, []) == 0 and torch.equal(network[0].running_mean, kept)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_dropout_drops_whole_channels(name):
    network = build_network(NetworkSettings(name=name, dropout=0.2), 1, 2)
    found = [type(one) for one in network.modules() if isinstance(one, _DropoutNd) and one.p > 0]
    assert found and set(found) == {nn.Dropout3d}
