"""Clipped squared distances against SciPy's exact transform."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from connectomics.segmentation.distance import clipped_squared_distance

SHAPES = [(1, 1, 40), (1, 23, 1), (31, 1, 1), (2, 3, 5), (20, 31, 33), (40, 9, 70)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("limit", [1, 2, 5, 12, 65])
def test_distances_are_those_of_scipy(shape, limit):
    random = np.random.default_rng(limit)
    for share in (0.5, 0.9, 0.999):
        mask = random.random(shape) < share
        mask[tuple(n // 2 for n in shape)] = False  # SciPy's distances mean nothing without any
        squared = np.rint(distance_transform_edt(mask) ** 2)
        found = clipped_squared_distance(mask, limit)
        assert found.dtype == np.int16
        np.testing.assert_array_equal(found, np.minimum(squared, limit * limit))


def test_a_sum_of_three_parts_is_not_clipped_too_early():
    """Corner of a ball: 4 voxels along every axis are 48 of 49, within the limit of 7 voxels."""
    mask = np.ones((9, 9, 9), bool)
    mask[4, 4, 4] = False
    squared = clipped_squared_distance(mask, 7)
    assert squared[0, 0, 0] == squared[8, 8, 0] == 48
    assert clipped_squared_distance(mask, 6).max() == 36


@pytest.mark.parametrize("inside", [False, True])
def test_a_mask_of_one_value(inside):
    squared = clipped_squared_distance(np.full((6, 7, 8), inside), 4)
    assert (squared == (16 if inside else 0)).all()
