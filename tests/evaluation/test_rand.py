"""The adapted Rand error equals scikit-image's."""

import numpy as np
import pytest
from skimage.metrics import adapted_rand_error as reference

from connectomics.evaluation.contingency import Contingency, count_contingency
from connectomics.evaluation.rand import adapted_rand


@pytest.mark.parametrize("seed", range(10))
def test_equals_scikit_image_with_truth_0_ignored(seed):
    rng = np.random.default_rng(seed)
    truth, segmentation = rng.integers(0, 6, (2, 6, 7, 8))
    expected = reference(truth, segmentation, ignore_labels=(0,))
    assert adapted_rand(count_contingency(segmentation, truth)) == pytest.approx(expected, rel=1e-12)
    assert expected != pytest.approx(reference(truth, segmentation, ignore_labels=()), rel=1e-6), (
        "test invalid"
    )


def test_splits_and_merges_lower_different_ratios():
    one, two = np.ones(8, int), np.repeat([1, 2], 4)
    _, precision, recall = adapted_rand(count_contingency(two, one))  # split
    assert precision < 1
    assert recall == 1
    _, precision, recall = adapted_rand(count_contingency(one, two))  # merge
    assert precision == 1
    assert recall < 1


def test_sizes_whose_squares_overflow_64_bit():
    ids = np.array([1, 2], np.uint64)
    count = np.array([2**33, 2**33], np.int64)
    assert adapted_rand(Contingency(ids, ids, count)) == (0.0, 1.0, 1.0)


def test_no_pairs_is_nan():
    assert np.isnan(adapted_rand(Contingency.empty())).all()
    assert np.isnan(adapted_rand(count_contingency(np.array([3]), np.array([1])))).all()
