"""MMD: the direct sum over pairs in float64, p-values uniform under the null, and power where it is not."""

import itertools

import numpy as np
import pytest
from scipy import stats

from connectomics.adaptation.mmd import (
    FACTORS,
    bootstrap_interval,
    compare_samples,
    kernel_matrix,
    mmd2,
    permutation_p_value,
    standardised,
    within_source,
)
from connectomics.errors import InputError


def direct(x, y):
    """The unbiased estimate, pair by pair."""
    pooled = [*x, *y]
    distances = [np.sum((a - b) ** 2) for a, b in itertools.combinations(pooled, 2)]
    median = np.median(distances)

    def k(a, b):
        return np.mean([np.exp(-np.sum((a - b) ** 2) / (2 * f**2 * median)) for f in FACTORS])

    def mean(pairs):
        values = [k(a, b) for a, b in pairs]
        return sum(values) / len(values)

    return (
        mean(itertools.combinations(x, 2))
        + mean(itertools.combinations(y, 2))
        - 2 * mean(itertools.product(x, y))
    )


@pytest.mark.parametrize("shift", [0.0, 1.5])
@pytest.mark.parametrize(("n", "m"), [(2, 3), (13, 8)])
def test_it_is_the_direct_sum_over_pairs(n, m, shift):
    random = np.random.default_rng(n)
    x, y = random.normal(size=(n, 4)), random.normal(shift, size=(m, 4))
    kernel = kernel_matrix(np.concatenate((x, y)))
    labels = np.concatenate((np.ones(n), -np.ones(m)))
    np.testing.assert_allclose(mmd2(kernel, labels[None])[0], direct(x, y), rtol=1e-10, atol=1e-13)
    assert abs(direct(x, y) - direct(x, y + 1)) > 1e-3, "test invalid"


def test_a_sample_that_counts_twice_is_not_compared_with_itself():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 3)), random.normal(size=(4, 3))
    kernel = kernel_matrix(np.concatenate((x, y)))
    weights = np.array([2.0, 1, 1, 1, 0, -1, -1, -1, -1])
    chosen = [0, 0, 1, 2, 3]
    pairs = [(i, j) for i, j in itertools.permutations(range(5), 2) if chosen[i] != chosen[j]]
    within = np.mean([kernel[chosen[i], chosen[j]] for i, j in pairs])
    other = kernel[5:, 5:].sum() / 12
    between = np.mean([kernel[i, j] for i in chosen for j in range(5, 9)])
    np.testing.assert_allclose(mmd2(kernel, weights[None])[0], within + other - 2 * between)


def test_the_p_value_is_uniform_under_the_null():
    random = np.random.default_rng(1)
    values = []
    for seed in range(300):
        pooled = random.standard_t(3, size=(20, 5))  # heavy tails: no formula would do
        values.append(permutation_p_value(kernel_matrix(pooled), 8, 199, seed))
    jittered = np.array(values) - random.uniform(0, 1 / 200, 300)  # p-values are multiples of 1/200
    assert stats.kstest(jittered, "uniform").pvalue > 0.01
    assert stats.kstest(jittered**1.5, "uniform").pvalue < 0.01, "test invalid"


def test_a_shift_and_a_change_of_shape_are_found():
    random = np.random.default_rng(2)
    x = random.normal(size=(40, 6))
    for y in (random.normal(1, size=(30, 6)), random.normal(0, 3, size=(30, 6))):
        found, _ = compare_samples(x, y, permutations=199)
        assert found.p_value == pytest.approx(1 / 200) and found.low > 0
    same, _ = compare_samples(x, random.normal(size=(30, 6)), permutations=199)
    assert same.p_value > 0.05 and same.low < same.mmd2 < same.high
    assert same.mmd2 < 0.3 * found.mmd2


def test_the_interval_holds_the_distance_between_the_distributions():
    random = np.random.default_rng(3)
    truth = mmd2_of(random.normal(size=(1500, 2)), random.normal(0.7, size=(1500, 2)))
    inside = 0
    for seed in range(40):
        x, y = random.normal(size=(60, 2)), random.normal(0.7, size=(60, 2))
        low, high = bootstrap_interval(kernel_matrix(np.concatenate((x, y))), 60, 300, seed)
        inside += low <= truth <= high
    assert inside >= 33


def test_of_two_crops_there_is_an_interval_too():
    random = np.random.default_rng(6)
    found, _ = compare_samples(random.normal(size=(20, 3)), random.normal(size=(2, 3)), permutations=99)
    assert np.isfinite([found.mmd2, found.low, found.high]).all() and found.p_value > 0.02


def mmd2_of(x, y):
    labels = np.concatenate((np.ones(len(x)), -np.ones(len(y))))
    return mmd2(kernel_matrix(np.concatenate((x, y))), labels[None])[0]


def test_a_dead_feature_and_the_scale_of_the_others_do_not_decide():
    random = np.random.default_rng(4)
    x, y = random.normal(size=(30, 4)), random.normal(1, size=(30, 4))
    scale = np.array([1, 1000, 1e-3, 1])
    a, b = standardised(x, y), standardised(x * scale, y * scale)
    np.testing.assert_allclose(a[0][:, [0, 1, 3]], b[0][:, [0, 1, 3]])
    dead = np.concatenate((x, np.full((30, 1), 3.0)), 1), np.concatenate((y, np.full((30, 1), 3.0)), 1)
    assert all(np.isfinite(part).all() for part in standardised(*dead))


def test_groups_of_the_source_are_compared_among_themselves():
    random = np.random.default_rng(5)
    group = np.repeat([0, 1, 2], 10)
    source = random.normal(size=(30, 3)) + (group == 2)[:, None] * 3
    kernel = kernel_matrix(np.concatenate((source, random.normal(size=(7, 3)))))
    found = within_source(kernel, group)
    assert len(found) == 3 and found[2] > 3 * max(found[:2])
    assert len(within_source(kernel, np.zeros(30, int))) == 0


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (np.zeros((1, 2)), np.zeros((5, 2))),
        (np.zeros((5, 2)), np.zeros((5, 3))),
        (np.full((5, 2), np.nan), np.zeros((5, 2))),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(source, target):
    with pytest.raises(InputError, match="MMD"):
        compare_samples(source, target)
