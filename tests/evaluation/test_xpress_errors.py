"""The list of errors: as many as the score counts, in their places, the costliest first."""

import numpy as np
import pytest
from hypothesis import given

from connectomics.evaluation.xpress import xpress_figures
from connectomics.evaluation.xpress_errors import xpress_errors
from tests.evaluation.test_xpress import CUTS, PERFECT, nodes, scenes


def test_nothing_is_wrong_with_a_perfect_segmentation():
    assert xpress_errors(nodes(PERFECT, gaps=CUTS)) == []


def test_a_split_lies_in_the_middle_of_its_edge_and_costs_what_joining_gains():
    found = nodes([1, 1, 1, 2, 2, 9, 3, 3, 3], gaps=CUTS)
    (split,) = xpress_errors(found)
    assert (split.kind, split.labels, split.skeletons) == ("split", (2, 9), (2, 2))
    assert split.position == pytest.approx((55, 0, 0))
    gain = xpress_figures(nodes(PERFECT, gaps=CUTS))["erl"] - xpress_figures(found)["erl"]
    assert split.cost_nm == pytest.approx(gain)


def test_a_merge_lies_where_the_axons_come_nearest_and_costs_what_separating_gains():
    found = nodes([1, 1, 1, 2, 2, 2, 2, 2, 2], gaps=CUTS)
    (merge,) = xpress_errors(found)
    assert (merge.kind, merge.labels, merge.skeletons) == ("merge", (2,), (2, 3))
    assert merge.position == pytest.approx((65, 0, 0))
    gain = xpress_figures(nodes(PERFECT, gaps=CUTS))["erl"] - xpress_figures(found)["erl"]
    assert merge.cost_nm == pytest.approx(gain)


def test_the_edges_of_a_gap_carry_what_closing_it_gains():
    found = nodes([1, 1, 0, 0, 1, 1, 2, 2], gaps=(6,))
    errors = xpress_errors(found)
    assert [error.kind for error in errors] == ["split"] * 3
    gain = xpress_figures(nodes([1] * 6 + [2, 2], gaps=(6,)))["erl"] - xpress_figures(found)["erl"]
    assert [error.cost_nm for error in errors] == pytest.approx([gain] * 3)


def test_the_costs_of_a_merge_of_many_add_up():
    found = nodes([2] * 9, gaps=CUTS)
    errors = xpress_errors(found)
    assert len(errors) == 3
    gain = xpress_figures(nodes(PERFECT, gaps=CUTS))["erl"]
    assert sum(error.cost_nm for error in errors) == pytest.approx(gain)


def test_a_merge_that_the_score_does_not_see_costs_nothing():
    (error,) = xpress_errors(nodes([1, 1, 1, *[2**60 + 12345] * 6], gaps=CUTS))
    assert (error.kind, error.cost_nm) == ("merge", 0)


@given(scenes())
def test_as_many_as_counted_and_sorted(found):
    figures, errors = xpress_figures(found), xpress_errors(found)
    kinds = [error.kind for error in errors]
    assert (kinds.count("split"), kinds.count("merge")) == (
        figures["n_split_edges"],
        figures["n_merged_edges"],
    )
    costs = [error.cost_nm for error in errors]
    assert costs == sorted(costs, reverse=True) and np.isfinite(costs).all() and min(costs, default=0) >= 0
