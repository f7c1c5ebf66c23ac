"""Every error along skeletons has a place, and a cost that repairing it really gains."""

import numpy as np
import pytest

from connectomics.evaluation.skeleton_errors import skeleton_errors
from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.io.skeletons import Skeletons


def two_axons():
    """Two axons of five nodes along x, 1000 nm apart, the nodes 100 nm apart."""
    nodes = np.array([(0.0, 1000.0 * axon, 100.0 * i) for axon in range(2) for i in range(5)])
    edges = np.array([(i, i + 1) for i in range(9) if i != 4])
    return Skeletons(nodes, edges, np.repeat([11, 22], 5), np.full(10, np.nan))


def test_a_perfect_segmentation_has_no_errors():
    assert skeleton_errors(np.repeat([1, 2], 5), two_axons()) == []


def test_a_split_is_placed_and_its_cost_is_what_repair_gains():
    #  1-1-1-3-3
    #  2-2-2-2-2
    labels = np.array([1, 1, 1, 3, 3, 2, 2, 2, 2, 2])
    (error,) = skeleton_errors(labels, two_axons())
    assert (error.kind, error.position, error.labels, error.skeletons) == (
        "split",
        (0, 0, 250),
        (1, 3),
        (11,),
    )
    repaired = np.repeat([1, 2], 5)
    gain = skeleton_scores(repaired, two_axons())["erl_nm"] - skeleton_scores(labels, two_axons())["erl_nm"]
    assert error.cost_nm == pytest.approx(gain)
    assert gain > 0


def test_a_merge_is_placed_at_the_closest_approach():
    #  1-1-1-1-1
    #  1-1-2-2-2
    labels = np.array([1, 1, 1, 1, 1, 1, 1, 2, 2, 2])
    merge, split = skeleton_errors(labels, two_axons())
    assert (merge.kind, merge.labels, merge.skeletons) == ("merge", (1,), (11, 22))
    assert merge.position[:2] == (0, 500)
    assert merge.position[2] in (0, 100)
    repaired = np.array([1, 1, 1, 1, 1, 4, 4, 2, 2, 2])
    gain = skeleton_scores(repaired, two_axons())["erl_nm"] - skeleton_scores(labels, two_axons())["erl_nm"]
    assert merge.cost_nm == pytest.approx(gain)
    assert (split.kind, split.labels) == ("split", (1, 2))
    assert merge.as_dict()["position_nm"] == list(merge.position)


def test_a_stray_node_is_two_splits_and_no_merge():
    #  1-1-1-1-1
    #  2-2-1-2-2
    labels = np.array([1, 1, 1, 1, 1, 2, 2, 1, 2, 2])
    assert [error.kind for error in skeleton_errors(labels, two_axons())] == ["split", "split"]


def test_background_edges_are_splits():
    errors = skeleton_errors(np.array([1, 1, 0, 0, 1, 2, 2, 2, 2, 2]), two_axons())
    assert sorted(error.labels for error in errors) == [(0, 0), (0, 1), (1, 0)]
