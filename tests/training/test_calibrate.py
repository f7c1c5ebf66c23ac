"""Calibration on a recipe's validation volumes: what is counted, and with what truth."""

from dataclasses import replace

import numpy as np
import pytest

from connectomics.affinities import affinities_from_labels
from connectomics.networks.contract import Contract
from connectomics.segmentation.calibration import COUNTS_KEY, LENGTHS, VOXEL_KEYS
from connectomics.training import calibrate as module
from connectomics.training.calibrate import calibrate, calibrated, calibration_sources
from connectomics.training.sources import Source
from connectomics.training.train import make_contract

WRONG = 0.2
"""How often the drawn network says the opposite of the truth."""


@pytest.fixture
def contract(toy) -> Contract:
    made = make_contract(toy, (127.0, 33.0), {}, 0).without_auxiliary()
    return made.model_copy(update={"segmentation": {"max_distance": 4, "threshold": 0.5}})


def lying(source: Source) -> np.ndarray:
    """Affinities 230 where voxels are connected and 20 where not, but for one in five."""
    truth, _ = affinities_from_labels(source.labels.numpy().clip(0), ((-1, 0, 0), (0, -1, 0), (0, 0, -1)))
    lie = np.random.default_rng(0).random(truth.shape) < WRONG
    return np.where((truth > 0) ^ lie, 230, 20).astype(np.uint8)


def test_tables_say_how_often_the_network_lies(toy, contract, tmp_path):
    toy = toy.model_copy(update={"targets": toy.targets.model_copy(update={"erosion": 0})})
    found = calibrate(contract, lying, toy, tmp_path).calibration
    assert set(found) >= set(VOXEL_KEYS) and set(found) <= set(LENGTHS)
    for key in VOXEL_KEYS:
        said = np.array(found[key])
        share = said[230]  # most voxels are connected: few of those called so are not
        assert share > 1 - WRONG and 0 < said[20] < share


def test_only_the_scored_part_counts(toy, contract, tmp_path, monkeypatch):
    (source,) = calibration_sources(toy, tmp_path)
    assert source.score != (slice(None),) * 3, "test invalid: all is scored"

    def differing(source: Source) -> np.ndarray:
        affinities = np.full((3, *source.raw.shape), 7, np.uint8)
        affinities[(slice(None), *source.score)] = 200
        return affinities

    scored = calibrate(contract, differing, toy, tmp_path).calibration["voxel_x"]
    assert min(scored) == max(scored)  # affinity 7 was never counted
    whole = replace(source, score=(slice(None),) * 3)
    monkeypatch.setattr(module, "calibration_sources", lambda *_: [whole])
    everything = calibrate(contract, lambda _: differing(source), toy, tmp_path).calibration["voxel_x"]
    assert everything[200] != scored[200] or min(everything) < max(everything), "test invalid"


def test_a_failure_leaves_the_contract_as_it_was(toy, contract, tmp_path, monkeypatch, caplog):
    import torch

    def fail(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(module, "calibrate", fail)
    assert calibrated(contract, torch.nn.Linear(1, 1), toy, tmp_path) == contract
    assert "without" in caplog.text


def test_edges_are_counted_where_there_are_enough(toy, contract, tmp_path, monkeypatch):
    monkeypatch.setattr("connectomics.segmentation.fit_calibration.FEWEST", 1)
    found = calibrate(contract, rough, toy, tmp_path).calibration
    assert set(found) == set(LENGTHS)
    edges, same, wrong = found[COUNTS_KEY]
    assert 0 < same < edges and 0 <= wrong <= edges


def rough(source: Source) -> np.ndarray:
    """True affinities, blurred and broken, so that cells fall into pieces and some run together."""
    from scipy.ndimage import gaussian_filter

    offsets = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    truth, _ = affinities_from_labels(source.labels.numpy().clip(0), offsets)
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(truth.shape), (0, 1.5, 1.5, 1.5))
    return np.clip(40 + 150 * truth + 60 * noise / noise.std(), 0, 255).astype(np.uint8)
