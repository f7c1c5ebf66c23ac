"""The plan's interval holds however objects cluster, and narrows as more is looked at."""

from types import SimpleNamespace

import numpy as np
import pytest

from connectomics.cascade.plan import INTERVAL, project
from connectomics.cascade.settings import Cascade
from connectomics.cascade.timing import measured_costs, network_seconds
from connectomics.inference.settings import InferenceSettings

MOST = [64, 8, 1]


def population(seed: int, share: float) -> np.ndarray:
    """Calls below each of 16^3 coarsest chunks: those that pass lie in clusters, deep ones in the middle."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices((16, 16, 16))
    field = np.full(z.shape, np.inf)
    for _ in range(4):
        centre = rng.random(3) * 16
        field = np.minimum(field, sum((a - c) ** 2 for a, c in zip((z, y, x), centre, strict=True)))
    field = field.ravel() + rng.random(field.size)
    passing = field <= np.quantile(field, share)
    depth = np.clip(np.round(8 * (1 - field / field[passing].max())), 0, 8)
    rows = np.zeros((field.size, 3), np.int64)
    rows[:, 2] = 1
    rows[passing, 1] = 8
    rows[passing, 0] = 8 * depth[passing]
    return rows


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_interval_covers_the_truth(share):
    inside, widths = 0, []
    for seed in range(60):
        rows = population(seed, share)
        rng = np.random.default_rng(1000 + seed)
        sample = rows[rng.choice(len(rows), 512, replace=False)]
        draws = project(sample, len(rows), MOST, rng, draws=1000)
        low, high = np.quantile(draws[:, 0], INTERVAL)
        inside += low <= rows[:, 0].sum() <= high
        widths.append((high - low) / rows[:, 0].sum())
        assert (draws[:, 2] == len(rows)).all()
    assert inside >= 0.85 * 60 - 3
    assert np.median(widths) < {0.01: 3.0, 0.1: 0.8, 0.5: 0.3}[share]  # not by saying nothing


def test_everything_looked_at_leaves_nothing_open():
    rows = population(0, 0.1)
    draws = project(rows, len(rows), MOST, np.random.default_rng(0))
    assert (draws == rows.sum(axis=0)).all()


def test_a_sample_without_a_find_still_allows_for_some():
    rows = np.tile([0, 0, 1], (100, 1))
    draws = project(rows, 10_000, MOST, np.random.default_rng(0))
    low, high = np.quantile(draws[:, 0], INTERVAL)
    assert low <= 0 < high < 0.05 * 64 * 10_000


def test_a_network_is_timed_with_its_writing_and_one_that_is_not_here_is_guessed(model, caplog, monkeypatch):
    fine, _, peak = network_seconds(str(model), (16, 16, 16), 32, InferenceSettings(engine="torch"))
    assert fine > 0 and peak > 0
    level = {"detector": {"level": 1, "method": "dark"}, "threshold": 0.0, "sensitivity": 1.0}
    cascade = Cascade.parse(
        {
            "name": "toy",
            "modality": "em",
            "voxel_size": (10.0, 10.0, 10.0),
            "chunk": (16, 16, 16),
            "levels": [level | {"false_positive_rate": 0.0, "seconds": 1e-5}],
            "fine_model": "no-such-model",
            "fine_seconds": 0.02,
            "dense_seconds": 0.01,
            "promise": {},
            "objects": 10,
            "lost": 0,
        }
    )
    monkeypatch.setattr("connectomics.cascade.timing.detector_seconds", lambda *_: 3e-5)
    costs = measured_costs(cascade, InferenceSettings(), SimpleNamespace(seconds=lambda level: 7e-5))
    assert "is not here" in caplog.text
    assert costs.detectors == (7e-5,)  # as the volume is read
    assert costs.fine == pytest.approx(3 * 0.02)  # by the detector alone: reading says nothing of a network
    assert costs.dense == pytest.approx(costs.fine / 2)
