"""Reliability against drawn cases of known probability, and sums done by hand."""

import numpy as np
import pytest

from connectomics.evaluation.reliability import (
    average_precision,
    bins,
    calibration_error,
    draw_reliability,
    found_first,
    reliability,
)


def test_true_probabilities_are_calibrated_and_others_are_not():
    random = np.random.default_rng(0)
    stated = random.random(20000)
    wrong = random.random(20000) < stated
    scores = reliability(stated, wrong, np.ones(20000))
    assert scores["calibration_error"] < 0.02 and scores["brier_skill"] == pytest.approx(1 / 3, abs=0.02)
    assert scores["calibration_error"] < 3 * scores["calibration_error_if_perfect"]
    sure = reliability(stated**3, wrong, np.ones(20000))
    assert sure["calibration_error"] > 0.2 and sure["brier_skill"] < scores["brier_skill"]
    assert sure["average_precision"] == pytest.approx(scores["average_precision"])  # the order is the same


def test_average_precision_by_hand():
    #  first a hit (1/1), then a miss, then a hit (2/3)
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.1]), np.array([1, 0, 1, 0], bool)) == pytest.approx(
        5 / 6
    )
    assert average_precision(np.full(4, 0.5), np.array([1, 0, 0, 0], bool)) == pytest.approx(1 / 4)  # ties
    assert np.isnan(average_precision(np.ones(3), np.zeros(3, bool)))
    assert np.isnan(average_precision(np.ones(0), np.zeros(0, bool)))


def test_the_first_tenth_by_hand():
    lost = np.zeros(20)
    lost[[3, 7, 11]] = 30, 60, 10
    assert found_first(lost, lost) == pytest.approx(0.9)  # two of twenty
    assert found_first(np.arange(20.0), lost) == 0
    assert np.isnan(found_first(lost, np.zeros(20)))


def test_bins_hold_equally_many():
    stated = np.array([0.0] * 30 + [1.0] * 30)
    wrong = np.array([False] * 30 + [True] * 30)
    found = bins(stated, wrong)
    assert found[:, 2].tolist() == [4] * 15
    assert calibration_error(stated, wrong) == 0
    assert calibration_error(stated, np.roll(wrong, 15)) == pytest.approx(0.5, abs=0.05)


def test_it_is_drawn(tmp_path):
    random = np.random.default_rng(0)
    stated = random.random(200)
    figure = draw_reliability(
        {"one": (stated, random.random(200) < stated), "few": (stated[:3], stated[:3] > 2)}
    )
    figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000
