"""Strategies on drawn numbers: each picks what it says, and what is at stake is as worked out by hand."""

import numpy as np
import pytest

from connectomics.adaptation.stakes import object_lengths, run_length_at_stake
from connectomics.adaptation.strategies import best, binary_entropy, core_set, near_median


def test_the_median_is_picked_before_both_ends():
    values = np.array([9.0, 1.0, 5.0, 4.0, 6.0])
    assert best(near_median(values), 3).tolist() == [2, 3, 4]
    assert best(values, 1).tolist() == [0], "test invalid"
    assert near_median(np.array([3.0])).tolist() == [1.0]


def test_a_core_set_covers_every_cluster_and_the_best_scores_do_not():
    random = np.random.default_rng(0)
    centres = np.array([[0, 0], [20, 0], [0, 20], [20, 20]])
    which = np.repeat([0, 0, 0, 1, 2, 3], 8)
    features = centres[which] + random.normal(0, 0.5, (48, 2))
    chosen, apart = core_set(features, 4)
    assert sorted(which[chosen]) == [0, 1, 2, 3]
    assert (apart[1:] > 1).all()
    assert set(which[random.permutation(48)[:4]]) != {0, 1, 2, 3}, "test invalid"
    assert len(core_set(features, 100)[0]) == 48


def test_entropy_is_highest_where_nothing_is_known():
    sure, unsure = np.array([0, 255, 255], np.uint8), np.array([127, 128], np.uint8)
    assert binary_entropy(sure) == 0 and binary_entropy(unsure) == pytest.approx(1, abs=1e-4)
    assert binary_entropy(np.array([26], np.uint8)) == pytest.approx(0.4750, abs=2e-3)


def test_lengths_are_those_of_rods():
    labels = np.zeros((40, 20, 20), int)
    labels[5:35, 4:6, 4:6] = 1
    labels[2:4, 10:12, 0:20] = 3
    found = object_lengths(labels, (10.0, 5.0, 5.0))
    assert found[0] == found[2] == 0
    assert found[1] == pytest.approx(300, rel=0.01) and found[3] == pytest.approx(100, rel=0.01)


def test_what_is_at_stake():
    """Fragments 1-2 are one segment (of length 6), 3 another (4), 4 a third (10).

    1 === 2 --- 3    4
    """
    segment = np.array([0, 1, 1, 2, 3])
    lengths = np.array([0.0, 6.0, 4.0, 10.0])
    edges = np.array([[1, 2], [2, 3], [1, 3]])
    doubt = np.array([0.5, 0.1, 0.25])
    expected = (0.5 * 36 + 0.25 * 2 * 6 * 4) / 20
    assert run_length_at_stake(edges, doubt, segment, lengths) == pytest.approx(expected)
    assert run_length_at_stake(edges, 0 * doubt, segment, lengths) == 0
    assert run_length_at_stake(edges, doubt, segment, 0 * lengths) == 0
    far = np.array([[1, 2], [2, 4]])
    assert run_length_at_stake(far, doubt[:2], segment, lengths) > run_length_at_stake(
        edges[:2], doubt[:2], segment, lengths
    ), "a doubtful split from a long object counts for more than one from a short one"
