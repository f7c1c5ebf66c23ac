"""The XPRESS figures: equal to the official scorer's on drawn cases, and with the properties of a score."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connectomics.evaluation.nodes_in_region import NodesInRegion
from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.evaluation.xpress import OFFICIAL, Rules, label_background, who_holds_what, xpress_figures
from connectomics.evaluation.xpress_oddities import find_oddities
from connectomics.io.skeletons import Skeletons, connected_pieces


def nodes(labels, *, gaps=(), lengths=None, voxels=None, highest=None, whole_axon=None):
    """A chain of nodes along z, 10 nm apart, cut before the nodes in `gaps`; each in a voxel of its own."""
    count = len(labels)
    step = np.full(count, 10.0) if lengths is None else np.array([0.0, *lengths])
    places = np.stack([np.cumsum(step), np.zeros(count), np.zeros(count)], axis=1)
    edges = np.array([(i - 1, i) for i in range(1, count) if i not in gaps]).reshape(-1, 2)
    axon = connected_pieces(count, edges)
    labels = np.array(labels, np.uint64)
    return NodesInRegion(
        skeletons=Skeletons(places, edges, axon + 1, np.full(count, np.nan)),
        labels=labels,
        voxels=np.arange(count) if voxels is None else np.array(voxels),
        highest=int(labels.max()) if highest is None else highest,
        axon=axon,
        whole_axon=axon if whole_axon is None else np.array(whole_axon),
    )


def nerl(found):
    return skeleton_scores(found.labels, found.skeletons)["nerl"]


# Three axons of three nodes: 0-1-2, 3-4-5, 6-7-8.
PERFECT = [1, 1, 1, 2, 2, 2, 3, 3, 3]
CUTS = (3, 6)


def test_by_hand():
    figures = xpress_figures(nodes(PERFECT, gaps=CUTS))
    assert (figures["n_neurons"], figures["n_split_edges"], figures["n_merged_edges"]) == (3, 0, 0)
    assert figures["erl"] == pytest.approx(20) and figures["erl_norm"] == pytest.approx(1)
    assert figures["xpress_erl_rand"] == pytest.approx(1) and figures["xpress_erl_voi"] == pytest.approx(1)

    split = xpress_figures(nodes([1, 1, 1, 2, 2, 9, 3, 3, 3], gaps=CUTS))
    assert split["n_split_edges"] == 1 and split["n_merged_edges"] == 0
    assert split["erl"] == pytest.approx((20**2 + 10**2 + 20**2) / 60)
    # axon 0 is not counted: axon 1 is 2 + 1, axon 2 is 3
    assert split["rand_split"] == pytest.approx((4 + 1 + 9) / (9 + 9)) and split["rand_merge"] == 1

    merged = xpress_figures(nodes([1, 1, 1, 2, 2, 2, 2, 2, 2], gaps=CUTS))
    assert merged["n_split_edges"] == 0 and merged["n_merged_edges"] == 1
    assert merged["erl"] == pytest.approx(20**2 / 60)
    assert merged["rand_merge"] == pytest.approx((9 + 9) / 36) and merged["nvi_merge"] == pytest.approx(1)


def test_background_joins_nothing():
    figures = xpress_figures(nodes([0, 0, 0, 2, 2, 2, 0, 0, 0], gaps=CUTS))
    assert figures["n_split_edges"] == 4 and figures["n_merged_edges"] == 0


def test_background_labels_follow_the_nodes_and_are_shared_in_a_voxel():
    found = nodes([7, 0, 0, 0], voxels=[0, 5, 2, 5], highest=40)
    assert label_background(found).tolist() == [7, 41, 42, 41]
    assert label_background(found, shared=False).tolist() == [7, 41, 42, 43]


EDGES = {
    "no edge": (nodes([3]), {"erl": 0.0, "n_neurons": 1}, {"erl_norm", "xpress_rand", "xpress_erl_rand"}),
    "one axon": (nodes([3, 3]), {"erl": 10.0, "erl_norm": 1.0}, {"xpress_rand", "xpress_voi"}),
}


@pytest.mark.parametrize("name", EDGES)
def test_nothing_to_divide_by_is_nan(name):
    found, expected, broken = EDGES[name]
    figures = xpress_figures(found)
    assert {key: figures[key] for key in expected} == expected
    assert all(np.isnan(figures[key]) for key in broken)


ODD = {
    "first_axon_is_background": nodes([1, 1, 4, 2, 2, 2, 3, 3, 3], gaps=CUTS),
    "stray_node_merges": nodes([1, 1, 1, 2, 2, 2, 3, 3, 3, 2], gaps=(3, 6, 9)),
    "labels_as_floats": nodes([1, 1, 1, *[2**60 + 12345] * 6], gaps=CUTS),
    "reentry_is_a_new_axon": nodes([1, 1, 1, 2, 2, 2, 2, 2, 2], gaps=CUTS, whole_axon=[0] * 3 + [1] * 6),
    "background_voxel_is_an_object": nodes(
        [1, 1, 0, 0, 2, 2], gaps=(2, 4), voxels=[0, 1, 2, 2, 3, 4], lengths=[10, 1, 5, 1, 10]
    ),
    "background_is_never_merged": nodes([1, 1, 1, 0, 0, 0, 0, 0, 0], gaps=CUTS),
    "divided_by_mean_length": nodes([1, 1, 2, 2, 2], gaps=(2,), lengths=[10, 1, 500, 500]),
}


def test_every_rule_is_told_of_where_it_changes_the_score():
    assert set(ODD) == {field.name for field in fields(Rules)}


@pytest.mark.parametrize("name", ODD)
def test_an_oddity_is_named_with_what_it_changed(name):
    found = ODD[name]
    official, without = xpress_figures(found), xpress_figures(found, replace(OFFICIAL, **{name: False}))
    (told,) = [one for one in find_oddities(found, official) if one.name == name]
    for key, change in told.change.items():
        assert change == pytest.approx(official[key] - without[key], nan_ok=True)
        assert abs(change) > 1e-6 or np.isnan(change)


def test_where_nothing_is_odd_nothing_is_told():
    found = nodes(PERFECT, gaps=CUTS)
    assert find_oddities(found, xpress_figures(found)) == []


def test_a_label_that_rounds_onto_a_merged_one_is_not_taken_for_it():
    shared, near = 2**60, 2**60 + 1  # both are 2^60 in float64, and only the first holds it exactly
    held = who_holds_what(nodes([shared, shared, near, near], gaps=(2,)))
    assert held.merged.tolist() == [True, True, False, False]
    assert xpress_figures(nodes([shared, shared, near, near], gaps=(2,)))["n_merged_edges"] == 0


def test_overflow_is_seen_and_repaired():
    found = nodes([2**64 - 1, 2**64 - 1, 0, 5], gaps=(2,))
    assert found.overflows
    assert found.relabelled().labels.tolist() == [2, 2, 0, 1] and not found.relabelled().overflows
    assert not nodes([2**64 - 1, 2**64 - 1, 5], gaps=(2,)).overflows


# --- properties ---------------------------------------------------------------------------------------------


@st.composite
def scenes(draw):
    """Up to 24 nodes in up to 6 axons under a few labels; nodes may share voxels, as they do in the data."""
    count = draw(st.integers(2, 24))
    cuts = draw(st.sets(st.integers(1, count - 1), max_size=5))
    lengths = draw(st.lists(st.floats(1, 500), min_size=count - 1, max_size=count - 1))
    return nodes(
        draw(st.lists(st.integers(0, 6), min_size=count, max_size=count)),
        gaps=cuts,
        lengths=lengths,
        highest=6,
    )


def same(a, b):
    return all(a[key] == pytest.approx(b[key], rel=1e-9, abs=1e-12, nan_ok=True) for key in a)


@given(scenes(), st.lists(st.integers(1, 2**53 - 100), min_size=6, max_size=6, unique=True))
def test_names_of_labels_do_not_matter(found, names):
    table = np.array([0, *names], np.uint64)
    renamed = replace(found, labels=table[found.labels.astype(int)], highest=max(names))
    assert same(xpress_figures(found), xpress_figures(renamed))
    assert nerl(renamed) == pytest.approx(nerl(found), nan_ok=True)


@given(scenes(), st.data())
def test_splitting_a_segment_of_one_axon_never_raises_erl(found, data):
    label = data.draw(st.sampled_from(found.labels.tolist()))
    members = np.flatnonzero(found.labels == label)
    assume(label != 0 and len(set(found.axon[members].tolist())) == 1)
    parts = data.draw(st.lists(st.sampled_from([label, 7]), min_size=members.size, max_size=members.size))
    labels = found.labels.copy()
    labels[members] = parts
    broken = replace(found, labels=labels, highest=7)
    assert xpress_figures(broken)["erl"] <= xpress_figures(found)["erl"] * (1 + 1e-9)
    assert nerl(broken) <= nerl(found) * (1 + 1e-9) or np.isnan(nerl(found))


@given(scenes(), st.data())
def test_separating_a_merger_never_lowers_erl(found, data):
    label = data.draw(st.sampled_from(found.labels.tolist()))
    assume(label != 0)
    labels = np.where(found.labels == label, 100 + found.axon.astype(np.uint64), found.labels)
    separated = replace(found, labels=labels, highest=200)
    assert xpress_figures(separated)["erl"] >= xpress_figures(found)["erl"] * (1 - 1e-9)
    assert nerl(separated) >= nerl(found) * (1 - 1e-9) or np.isnan(nerl(found))


@given(scenes())
def test_a_perfect_segmentation_has_nerl_one(found):
    perfect = replace(found, labels=found.axon.astype(np.uint64) + np.uint64(1), highest=30)
    assume(len(found.edges))
    assert nerl(perfect) == pytest.approx(1)


@given(scenes())
def test_the_order_of_edges_does_not_matter(found):
    turned = replace(
        found,
        skeletons=Skeletons(
            found.skeletons.nodes, found.edges[::-1, ::-1], found.skeletons.ids, found.skeletons.radii
        ),
    )
    assert same(xpress_figures(found), xpress_figures(turned))
