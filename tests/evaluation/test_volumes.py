"""Scores of label volumes: what must never change them, what must always lower them, who loses most."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from connectomics.evaluation.volumes import VoiTable

KEYS = ["voi_split", "voi_merge", "voi_sum", "adapted_rand_error", "rand_precision", "rand_recall"]
KEYS += ["predicted_background", "n_truth", "n_segments"]

volumes = arrays(np.uint16, (4, 5, 6), elements=st.integers(0, 5))


def score(segmentation, truth, mask=None):
    table = VoiTable()
    table.add(np.asarray(segmentation), np.asarray(truth), mask)
    return table.scores()


def test_keys_and_figures_of_a_drawn_example():
    #  truth         1 1 1 1 2 2 0 0
    #  segmentation  5 5 6 0 6 6 7 7
    scores = score([5, 5, 6, 0, 6, 6, 7, 7], [1, 1, 1, 1, 2, 2, 0, 0])
    assert list(scores) == KEYS
    assert scores["voi_split"] == pytest.approx((2 * 1 + 1 * 2 + 1 * 2) / 6)
    assert scores["voi_merge"] == pytest.approx((1 * np.log2(3) + 2 * np.log2(1.5)) / 6)
    assert scores["voi_sum"] == scores["voi_split"] + scores["voi_merge"]
    assert scores["predicted_background"] == pytest.approx(1 / 6)
    assert (scores["n_truth"], scores["n_segments"]) == (2, 2)


@settings(max_examples=40, deadline=None)
@given(volumes)
def test_perfect_loses_nothing(truth):
    truth[0, 0, :2] = 1
    scores = score(truth * 3, truth)
    assert (scores["voi_split"], scores["voi_merge"], scores["adapted_rand_error"]) == (0, 0, 0)
    assert scores["n_truth"] == scores["n_segments"]


@settings(max_examples=40, deadline=None)
@given(volumes, volumes, st.permutations(range(1, 6)), st.permutations(range(6)))
def test_names_do_not_matter(segmentation, truth, truth_names, segment_names):
    renamed = score(np.array(segment_names)[segmentation] + 2**40, np.array([0, *truth_names])[truth])
    plain = score(segmentation, truth)
    for key in KEYS[:6]:
        assert renamed[key] == pytest.approx(plain[key], nan_ok=True, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(volumes, volumes, st.integers(0, 5), arrays(bool, (4, 5, 6)))
def test_splitting_a_segment_never_lowers_the_split(segmentation, truth, victim, part):
    truth[0, 0, 0] = 1
    finer = np.where((segmentation == victim) & part, 99, segmentation)
    before, after = score(segmentation, truth), score(finer, truth)
    assert after["voi_split"] >= before["voi_split"] - 1e-12
    assert after["voi_merge"] <= before["voi_merge"] + 1e-12


@settings(max_examples=25, deadline=None)
@given(volumes, volumes, arrays(bool, (4, 5, 6)), st.permutations(range(4)))
def test_blocks_in_any_order_give_exactly_the_whole(segmentation, truth, mask, order):
    left, right = VoiTable(), VoiTable()
    for z in order:
        (left if z % 2 else right).add(segmentation[z], truth[z], mask[z])
    left.merge(right)
    np.testing.assert_equal(left.scores(), score(segmentation, truth, mask))


def test_leaving_hard_voxels_empty_does_not_pay():
    truth = np.repeat([1, 2, 3, 4], 4)
    wrong, empty = np.array([1] * 8 + [3] * 4 + [4] * 4), np.array([0] * 8 + [3] * 4 + [4] * 4)
    assert score(wrong, truth)["voi_sum"] == score(empty, truth)["voi_sum"] > 0
    assert score(empty, truth)["predicted_background"] == 0.5


def test_nothing_compared_is_nan_and_no_objects():
    scores = VoiTable().scores()
    assert all(np.isnan(scores[key]) for key in KEYS[:7])
    assert (scores["n_truth"], scores["n_segments"]) == (0, 0)
    assert VoiTable().worst(3) == []


def test_worst_names_the_objects_and_their_parts():
    #  truth         1 1 1 1 1 1 1 1 2 2 3 3 4 4
    #  segmentation  5 5 5 5 6 6 6 6 7 7 7 7 8 8
    table = VoiTable()
    table.add(np.repeat([5, 6, 7, 8], [4, 4, 4, 2]), np.repeat([1, 2, 3, 4], [8, 2, 2, 2]))
    split, merge = table.worst(10)
    assert (split.kind, split.label, split.parts) == ("split", 1, ((5, 4), (6, 4)))
    assert (merge.kind, merge.label, merge.parts) == ("merge", 7, ((2, 2), (3, 2)))
    scores = table.scores()
    assert split.bits == pytest.approx(scores["voi_split"])
    assert merge.bits == pytest.approx(scores["voi_merge"])
    assert table.worst(1) == [split]
    assert split.as_dict()["parts"][0] == {"id": 5, "voxels": 4}


def test_parts_of_all_objects_add_up():
    rng = np.random.default_rng(0)
    table = VoiTable()
    table.add(*rng.integers(0, 9, (2, 8, 8, 8)))
    losses = table.worst(1000)
    for kind in ("split", "merge"):
        total = sum(loss.bits for loss in losses if loss.kind == kind)
        assert total == pytest.approx(table.scores()[f"voi_{kind}"])
