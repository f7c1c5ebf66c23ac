"""Variation of information on drawn examples, and against scikit-image."""

import numpy as np
import pytest
from skimage.metrics import variation_of_information as reference

from connectomics.evaluation.contingency import count_contingency
from connectomics.evaluation.voi import variation_of_information


def voi(segmentation, truth):
    return variation_of_information(count_contingency(np.array(segmentation), np.array(truth)))


def test_a_split_is_a_split_and_a_merge_a_merge():
    #  truth  1 1 1 1   a split  1 1 2 2        truth  1 1 2 2   a merge  5 5 5 5
    assert voi([1, 1, 2, 2], [1, 1, 1, 1]) == (1.0, 0.0)
    assert voi([5, 5, 5, 5], [1, 1, 2, 2]) == (0.0, 1.0)


def test_background_of_the_truth_is_left_out_and_that_of_the_segmentation_is_one_label():
    #  truth         1 1 0 0
    #  segmentation  0 3 4 5
    assert voi([0, 3, 4, 5], [1, 1, 0, 0]) == (1.0, 0.0)
    # leaving two objects empty merges them
    assert voi([0, 0, 0, 0], [1, 1, 2, 2]) == (0.0, 1.0)


def test_nothing_to_compare_is_nan():
    assert np.isnan(voi([1, 2], [0, 0])).all()


@pytest.mark.parametrize("seed", range(8))
def test_equals_scikit_image(seed):
    rng = np.random.default_rng(seed)
    truth, segmentation = rng.integers(0, 5, (2, 6, 7, 8))
    known = truth != 0
    expected = reference(truth[known], segmentation[known])  # H(second | first), H(first | second)
    assert expected[0] != pytest.approx(expected[1], rel=1e-3), "test invalid"
    assert voi(segmentation, truth) == pytest.approx(tuple(expected), abs=1e-12)
