"""Calibration: factors are recovered, intervals cover whatever the errors' distribution."""

import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.inference.calibration import NOMINAL, calibrate, coverage, total_deviation
from connectomics.networks.contract import UncertaintyScales

N = 40_000


def _drawn(seed, tails=None):
    random = np.random.default_rng(seed)
    aleatoric = random.gamma(4, 0.1, N)
    epistemic = random.gamma(2, 0.1, N)
    unit = random.normal(size=N) if tails is None else random.standard_t(tails, N)
    return np.sqrt((2 * aleatoric) ** 2 + (0.5 * epistemic) ** 2) * unit, aleatoric, epistemic


def test_factors_are_recovered():
    scales = calibrate(*_drawn(0))
    assert scales.aleatoric == pytest.approx(2, rel=0.05)
    assert scales.epistemic == pytest.approx(0.5, abs=0.3)
    assert scales.intervals["0.5"] == pytest.approx(0.674, abs=0.03)
    assert scales.intervals["0.95"] == pytest.approx(1.96, abs=0.06)


def test_a_part_that_says_nothing_is_left_out():
    random = np.random.default_rng(1)
    epistemic, aleatoric = random.gamma(2, 0.2, N), random.gamma(2, 0.2, N)
    scales = calibrate(3 * epistemic * random.normal(size=N), aleatoric, epistemic)
    assert scales.epistemic == pytest.approx(3, rel=0.05)
    assert scales.aleatoric < 0.2


@pytest.mark.parametrize("tails", [None, 3])
def test_intervals_cover_what_they_say_on_other_voxels(tails):
    scales = calibrate(*_drawn(2, tails))
    error, aleatoric, epistemic = _drawn(3, tails)
    covered = coverage(error, total_deviation(aleatoric, epistemic, scales), scales)
    assert set(covered) == {f"{share:g}" for share in NOMINAL}
    for name, share in covered.items():
        assert share == pytest.approx(float(name), abs=0.01)
    if tails:  # Gaussian widths would not
        plain = scales.model_copy(update={"intervals": {"0.5": 0.674}})
        deviation = total_deviation(aleatoric, epistemic, plain)
        assert abs(coverage(error, deviation, plain)["0.5"] - 0.5) > 0.03


def test_without_one_part_the_other_carries_all():
    error, aleatoric, _ = _drawn(4)
    scales = calibrate(error, aleatoric, np.zeros(N))
    assert scales.epistemic == 1
    assert scales.aleatoric == pytest.approx(2, rel=0.1)
    only = calibrate(error, np.zeros(N), aleatoric)
    assert only.aleatoric == 1
    assert only.epistemic == pytest.approx(scales.aleatoric)


def test_the_unit_does_not_matter():
    error, aleatoric, epistemic = _drawn(5)
    one, other = calibrate(error, aleatoric, epistemic), calibrate(30 * error, 30 * aleatoric, 30 * epistemic)
    assert other.aleatoric == pytest.approx(one.aleatoric, rel=1e-3)
    assert other.intervals["0.9"] == pytest.approx(one.intervals["0.9"], rel=1e-3)


def test_values_that_are_not_finite_are_left_out():
    error, aleatoric, epistemic = _drawn(6)
    expected = calibrate(error[1:], aleatoric[1:], epistemic[1:])
    error[0] = np.nan
    assert calibrate(error, aleatoric, epistemic) == expected


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(InputError, match="shapes differ"):
        calibrate(np.zeros(5), np.zeros(4), np.zeros(5))
    with pytest.raises(InputError, match="100"):
        calibrate(np.ones(500), np.zeros(500), np.zeros(500))


def test_total_deviation_adds_squares():
    scales = UncertaintyScales(aleatoric=2, epistemic=0.5)
    assert total_deviation(np.array([1.5]), np.array([8.0]), scales) == pytest.approx([5.0])
