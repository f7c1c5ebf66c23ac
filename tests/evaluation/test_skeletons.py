"""Expected run length on drawn axons: splits, merges, background, axons that leave and come back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectomics.errors import InputError
from connectomics.evaluation.skeletons import measure_runs, number_axons, skeleton_scores
from connectomics.io.skeletons import Skeletons


def lines(*nodes_of_each, ids=None, step=100.0):
    """Straight axons along x, one node every `step` nm, one axon every 1000 nm along y."""
    nodes, edges, names = [], [], []
    for axon, count in enumerate(nodes_of_each):
        first = len(nodes)
        nodes += [(0.0, 1000.0 * axon, step * i) for i in range(count)]
        edges += [(first + i, first + i + 1) for i in range(count - 1)]
        names += [axon + 1 if ids is None else ids[axon]] * count
    return Skeletons(np.array(nodes), np.array(edges), np.array(names), np.full(len(nodes), np.nan))


def test_perfect():
    scores = skeleton_scores(np.repeat([7, 8], [5, 3]), lines(5, 3))
    assert scores == {"erl_nm": (400**2 + 200**2) / 600, "nerl": 1.0, "n_truth": 2, "n_segments": 2}


def test_split():
    #  1-1-1-2-2    200 nm under 1, 100 nm under 2, the edge between lost
    scores = skeleton_scores(np.array([1, 1, 1, 2, 2]), lines(5))
    assert scores["nerl"] == (200**2 + 100**2) / 400**2
    assert scores["erl_nm"] == (200**2 + 100**2) / 400


def test_a_label_with_edges_in_two_axons_counts_nothing():
    #  1-1-1-1-1
    #  1-1-2-2-2
    scores = skeleton_scores(np.array([1, 1, 1, 1, 1, 1, 1, 2, 2, 2]), lines(5, 5))
    assert scores["nerl"] == 200**2 / (2 * 400**2)


def test_a_stray_node_is_no_merge():
    #  1-1-1-1-1
    #  2-2-1-2-2     label 1 touches one node of the second axon and holds no edge of it
    scores = skeleton_scores(np.array([1, 1, 1, 1, 1, 2, 2, 1, 2, 2]), lines(5, 5))
    assert scores["nerl"] == (400**2 + 200**2) / (2 * 400**2)


def test_background_joins_nothing():
    scores = skeleton_scores(np.array([0, 0, 0, 3, 3]), lines(5))
    assert scores["nerl"] == 100**2 / 400**2
    assert scores["n_segments"] == 1
    assert skeleton_scores(np.zeros(5, int), lines(5))["nerl"] == 0


def test_an_axon_that_leaves_and_comes_back_is_one():
    labels = np.full(8, 4)
    assert skeleton_scores(labels, lines(4, 4, ids=(9, 9))) == {
        "erl_nm": 600.0,
        "nerl": 1.0,
        "n_truth": 1,
        "n_segments": 1,
    }
    assert skeleton_scores(labels, lines(4, 4))["nerl"] == 0, "test invalid"


def test_edges_join_ids():
    both = lines(2, 2)
    joined = Skeletons(both.nodes, np.array([[0, 1], [1, 2], [2, 3]]), both.ids, both.radii)
    assert number_axons(both)[1] == 2
    assert number_axons(joined)[1] == 1
    axon, _ = number_axons(lines(2, 3, 1, ids=(30, 10, 20)))
    assert axon.tolist() == [0, 0, 1, 1, 1, 2]


def test_labels_compare_as_integers():
    big = 2**60
    labels = np.array([big, big, big + 1, big + 1], np.uint64)
    assert float(big) == float(big + 1), "test invalid"
    assert skeleton_scores(labels, lines(2, 2))["nerl"] == 1.0
    assert skeleton_scores(labels, lines(4))["nerl"] == pytest.approx(2 / 9)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_every_integer_type(kind):
    assert skeleton_scores(np.array([1, 1, 2], kind), lines(3))["nerl"] == 0.25


def test_nothing_to_follow_is_nan():
    for skeletons in (lines(1), lines()):
        scores = skeleton_scores(np.ones(len(skeletons), int), skeletons)
        assert np.isnan([scores["erl_nm"], scores["nerl"]]).all()
        assert scores["n_truth"] == len(skeletons)


def test_bad_labels_are_refused():
    with pytest.raises(InputError, match="5 nodes"):
        skeleton_scores(np.ones(4, int), lines(5))
    with pytest.raises(InputError, match="integers"):
        skeleton_scores(np.ones(5), lines(5))
    with pytest.raises(InputError, match="negative"):
        skeleton_scores(-np.ones(5, int), lines(5))


sixteen = st.lists(st.integers(0, 4), min_size=16, max_size=16).map(np.array)


@settings(max_examples=60, deadline=None)
@given(sixteen, st.permutations(range(1, 5)))
def test_nerl_is_a_share_and_names_do_not_matter(labels, names):
    skeletons = lines(7, 5, 4)
    scores = skeleton_scores(labels, skeletons)
    assert 0 <= scores["nerl"] <= 1
    renamed = np.array([0, *names])[labels]
    assert skeleton_scores(renamed, skeletons) == pytest.approx(scores)


@settings(max_examples=60, deadline=None)
@given(sixteen)
def test_held_lengths_are_the_whole_edges(labels):
    runs = measure_runs(labels, lines(7, 5, 4))
    assert runs.held_length.sum() == pytest.approx(runs.lengths[runs.whole].sum())
    assert runs.total.tolist() == [600, 400, 300]
