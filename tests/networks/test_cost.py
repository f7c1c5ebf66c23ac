"""What a network costs: counted by hand where it can be, and the same for every network by name."""

import json

import pytest
from torch import nn

from connectomics.cli.main import run
from connectomics.networks.build import ARCHITECTURES, build_network, divisor_of
from connectomics.networks.contract import NetworkSettings
from connectomics.networks.cost import cost_of, operations_per_voxel, reach, receptive_field
from tests.networks.test_checkpoint import SMALL

KEYS = {
    "parameters",
    "operations_per_voxel",
    "training_bytes_per_voxel",
    "training_bytes_fixed",
    "inference_bytes_per_voxel",
    "receptive_field",
}


def test_operations_are_those_of_the_convolutions():
    network = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv3d(2, 3, 1))
    assert operations_per_voxel(network.to("meta"), 1, (4, 4, 4)) == 2 * (27 * 2 + 2 * 3)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Conv3d(1, 1, (1, 3, 5), padding=(0, 1, 2)), (1, 3, 5)),
        (nn.Sequential(nn.Conv3d(1, 1, 3, padding=1), nn.Conv3d(1, 1, 3, padding=1)), (5, 5, 5)),
        # of the pooled voxel beside it, each of whose voxels sees one more: 2 + 2 + 2 and 1 on each side
        (nn.Sequential(nn.Conv3d(1, 1, 3, padding=1), nn.MaxPool3d(2), nn.Conv3d(1, 1, 3, padding=1),
                       nn.Upsample(scale_factor=2)), (8, 8, 8)),
    ],
)  # fmt: skip
def test_a_receptive_field_known_by_hand(network, expected):
    assert receptive_field(network, 1, (2, 2, 2)) == expected


def test_the_receptive_field_is_that_of_the_gradient_in_a_cube():
    settings = NetworkSettings(name="DynUNet", parameters=SMALL["DynUNet"])
    network = build_network(settings, 1, 2).eval()
    sides = reach(network, 64)
    for whole, side in zip(receptive_field(network, 1, divisor_of(settings)), sides, strict=True):
        assert side < whole <= 2 * side + 1


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_network_has_a_cost(name):
    cost = cost_of(NetworkSettings(name=name, parameters=SMALL[name]), 1, 2)
    assert cost.training_bytes_per_voxel > cost.inference_bytes_per_voxel > 4 * 2
    assert cost.operations_per_voxel > 100 and cost.training_bytes_fixed == 20 * cost.parameters
    assert all(9 < n < 700 for n in cost.receptive_field)


def test_a_reversible_network_takes_the_same_memory_however_deep():
    def training(blocks, **more):
        parameters = {"filters": [8, 16], "blocks": blocks, **more}
        return cost_of(NetworkSettings(name="ReversibleUNet", parameters=parameters), 1, 2)

    twin = {"reversible": False, "checkpoint": False}
    shallow, deep = training(2), training(6)
    assert deep.training_bytes_per_voxel == shallow.training_bytes_per_voxel
    assert deep.operations_per_voxel > 2 * shallow.operations_per_voxel
    stored = training(2, **twin), training(6, **twin)
    assert stored[0].training_bytes_per_voxel > 3 * shallow.training_bytes_per_voxel
    assert stored[1].training_bytes_per_voxel > 2 * stored[0].training_bytes_per_voxel
    assert stored[0].inference_bytes_per_voxel == shallow.inference_bytes_per_voxel


@pytest.mark.parametrize("name", ["ReversibleUNet", "phantom-xnh"])
def test_show_prints_the_cost_of_models_and_architectures(name, tmp_path, capsys):
    report = tmp_path / "cost.json"
    assert run(["models", "show", name, "--json", str(report)]) == 0
    shown, text = json.loads(report.read_text()), capsys.readouterr().out
    assert shown.keys() >= KEYS and all(key in text for key in KEYS)
    assert shown["parameters"] > 1e5 and shown["network"]["name"] in ARCHITECTURES
    assert ("voxel_size" in shown) == (name == "phantom-xnh")


def test_show_names_what_there_is(capsys):
    assert run(["models", "show", "ReversibleNet"]) == 2
    assert "ReversibleUNet" in capsys.readouterr().err
