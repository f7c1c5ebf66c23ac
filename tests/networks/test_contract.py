"""A contract says what a model is, strictly."""

import json

import pytest

from connectomics.errors import ModelError, SettingsError
from connectomics.networks.contract import Contract, Head, read_contract, write_contract

NEAR = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
VALUES = {
    "name": "toy",
    "network": {"name": "DynUNet", "parameters": {"filters": [4, 8, 8]}},
    "heads": [{"kind": "affinities", "offsets": NEAR}, {"kind": "lsd", "auxiliary": True}],
    "voxel_size": [10, 10, 10],
    "modality": "em",
    "normalisation": {"kind": "fixed", "mean": 127, "std": 33},
    "margin": [4, 4, 4],
    "divisor": [4, 4, 4],
}


def test_it_survives_a_file(tmp_path):
    contract = Contract.parse(VALUES)
    write_contract(tmp_path / "contract.json", contract)
    assert read_contract(tmp_path / "contract.json") == contract
    assert contract.out_channels == 13
    assert contract.offsets == tuple(tuple(o) for o in NEAR)
    assert contract.without_auxiliary().out_channels == 3


@pytest.mark.parametrize("text", ["{", "[]", '{"name": 3}', "\xff"])
def test_a_damaged_file_is_one_clear_error(tmp_path, text):
    path = tmp_path / "contract.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"contract\.json"):
        read_contract(path)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="train"):
        read_contract(tmp_path / "contract.json")


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path):
    path = tmp_path / "contract.json"
    path.write_text(json.dumps({**VALUES, "modalty": "em"}))
    with pytest.raises(ModelError, match="modality"):
        read_contract(path)


@pytest.mark.parametrize(
    "head",
    [
        {"kind": "affinities"},
        {"kind": "affinities", "offsets": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]},
        {"kind": "lsd", "offsets": NEAR},
        {"kind": "other"},
    ],
)
def test_heads_that_mean_nothing_are_refused(head):
    with pytest.raises(SettingsError):
        Head.parse(head)


@pytest.mark.parametrize("change", [{"voxel_size": [0, 1, 1]}, {"heads": []}, {"modality": "mri"}])
def test_values_that_cannot_be_are_refused(change):
    with pytest.raises(SettingsError):
        Contract.parse({**VALUES, **change})
