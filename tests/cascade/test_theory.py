"""The formulas of the cascade against drawn cascades, independent and clustered, and in closed form."""

import numpy as np
import pytest

from connectomics.cascade.theory import Rates, expect, independent_prevalence
from connectomics.errors import InputError

RATES = (Rates(0.97, 0.03), Rates(0.93, 0.08, 0.7), Rates(0.9, 0.2, 0.5), Rates(0.98, 0.3, 0.2))


def coarse(positive: np.ndarray) -> np.ndarray:
    """A chunk is positive if any of its children is (one row a volume)."""
    halves = [part for n in positive.shape[1:] for part in (n // 2, 2)]
    axes = tuple(range(2, 2 * positive.ndim - 1, 2))
    return positive.reshape(len(positive), *halves).any(axis=axes)


def fine(values: np.ndarray) -> np.ndarray:
    """The children of every chunk."""
    for axis in range(1, values.ndim):
        values = values.repeat(2, axis)
    return values


def draw(rng, truths, rates):
    """Calls per level and the fine chunks found, one row a volume."""
    calls, open_ = [], np.ones_like(truths[-1])
    for level in reversed(range(len(truths))):
        calls.insert(0, open_.sum(axis=tuple(range(1, open_.ndim))))
        rate = np.where(truths[level], rates[level].sensitivity, rates[level].false_positive_rate)
        passed = open_ & (rng.random(open_.shape) < rate)
        open_ = fine(passed) if level else passed
    return np.array(calls), open_


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("levels", [2, 3, 4])
@pytest.mark.parametrize("clustered", [False, True])
def test_calls_and_errors_against_drawn_cascades(dimensions, levels, clustered):
    rng = np.random.default_rng([dimensions, levels, clustered])
    shape = (60 if dimensions == 3 else 400, *(16,) * dimensions)
    truth = rng.random(shape) < 0.01
    if clustered:  # objects of several chunks: what is positive makes its neighbour along x positive, too
        truth = truth | np.roll(truth, 1, -1) | np.roll(truth, 2, -1)
    truths = [truth]
    for _ in range(levels - 1):
        truths.append(coarse(truths[-1]))
    prevalences = (
        [float(t.mean()) for t in truths] if clustered else independent_prevalence(0.01, levels, dimensions)
    )
    rates, chunks = RATES[:levels], 16**dimensions
    expected = expect(rates, prevalences, chunks, dimensions)
    calls, found = draw(rng, truths, rates)
    error = calls.std(axis=1, ddof=1) / np.sqrt(len(truth))
    assert (np.abs(calls.mean(axis=1) - expected.calls) <= 3 * error + 1e-9).all()
    hits, false = found[truth], found[~truth]
    for got, wanted in ((hits, expected.sensitivity), (false, expected.false_positive_rate)):
        # chunks of one volume share their coarse verdicts: the error is taken over volumes
        where = truth if got is hits else ~truth
        rows = np.array([f[w].mean() for f, w in zip(found, where, strict=True) if w.any()])
        assert abs(got.mean() - wanted) <= 3 * rows.std(ddof=1) / np.sqrt(len(rows)) + 1e-9
    costs = sum(n * rate.cost for n, rate in zip(expected.calls, rates, strict=True))
    assert expected.seconds == pytest.approx(costs)


def test_clustering_matters():
    independent = expect(RATES[:2], independent_prevalence(0.05, 2), 4096)
    clustered = expect(RATES[:2], (0.05, 0.08), 4096)
    assert clustered.calls[0] < 0.6 * independent.calls[0]


@pytest.mark.parametrize("p", [0.0, 0.011, 0.104, 1.0])
def test_two_levels_in_closed_form(p):
    fine_rates, coarse_rates, b = Rates(0.9, 0.1), Rates(0.95, 0.05), 8
    found = expect((fine_rates, coarse_rates), independent_prevalence(p, 2), 1.0)
    q = 1 - p
    assert found.calls[0] == pytest.approx(0.95 * (1 - q**b) + 0.05 * q**b)
    assert found.calls[1] == pytest.approx(1 / b)
    assert found.sensitivity == pytest.approx(0.9 * 0.95)
    if q:
        assert found.false_positive_rate == pytest.approx(
            0.1 * (0.95 * (1 - q ** (b - 1)) + 0.05 * q ** (b - 1))
        )


@pytest.mark.parametrize(("p", "saving"), [(0.011, 0.75), (0.104, 0.30)])
def test_the_example_of_the_literature(p, saving):
    rates = (Rates(1, 1), Rates(0.95, 0.05))
    assert expect(rates, independent_prevalence(p, 2), 1.0).saving == pytest.approx(saving, abs=0.005)


def test_impossible_prevalences_are_refused():
    with pytest.raises(InputError, match="rise"):
        expect(RATES[:2], (0.2, 0.1), 10)
    with pytest.raises(InputError, match="2 levels with 1"):
        expect(RATES[:2], (0.2,), 10)
