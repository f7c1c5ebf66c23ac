"""What is compared with what, and the words for it."""

import math

import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.io.skeletons import write_swc
from connectomics.pipeline.error_list import listed_errors
from connectomics.pipeline.layers import open_layers
from connectomics.pipeline.shown import Comparison
from connectomics.proofreading.session import ReviewSession
from napari_connectomics import sessions
from napari_connectomics.score_controller import BlocksDone, error_lines, rows, score_of


@pytest.fixture
def segmentation(reviewed):
    return next(layer for layer in open_layers(reviewed) if layer.name == "segmentation")


@pytest.fixture
def skeletons(tmp_path, drawing):
    write_swc(tmp_path / "traced", drawing.traced())
    return str(tmp_path / "traced")


def test_an_open_review_is_scored_before_and_after(segmentation, skeletons, reviewed):
    alone = score_of(segmentation, skeletons, False, None, BlocksDone())
    assert alone.after is None and len(alone.errors) == 2
    told = []
    stop = sessions.listen(lambda: told.append(1))
    with ReviewSession.open(reviewed, "ann") as session:
        sessions.announce(session)
        session.apply()
        session.next()
        session.apply()
        both = score_of(segmentation, skeletons, False, None, BlocksDone())
        sessions.retire(session)
    stop()
    assert both.before == alone.before and both.after["nerl"] == 1.0 and len(both.errors) == 0
    assert len(told) == 2 and sessions.session_on(segmentation.location) is None


@pytest.mark.parametrize(
    ("truth", "xpress", "why"),
    [
        (None, False, "choose the truth"),
        ("nothing.swc", False, "nothing.swc"),
        ("same", False, "same volume"),
    ],
)
def test_what_does_not_fit_is_refused(segmentation, truth, xpress, why):
    chosen = segmentation if truth == "same" else truth
    with pytest.raises(InputError, match=why):
        score_of(segmentation, chosen, xpress, None, BlocksDone())


def test_nothing_chosen(skeletons):
    with pytest.raises(InputError, match="choose a segmentation"):
        score_of(None, skeletons, False, None, BlocksDone())


def test_rows_begin_with_what_matters():
    scores = {"rand_recall": 0.5, "nerl": 0.123456, "voi_sum": math.nan, "oddities": []}
    table = rows(Comparison(scores, scores | {"nerl": 1.0}, listed_errors([])))
    assert [(row.name, row.before, row.after) for row in table] == [
        ("normalised run length", "0.1235", "1"),
        ("variation of information, bits", "-", "-"),
        ("rand_recall", "0.5", "0.5"),
    ]


def test_errors_in_lines():
    place = {"position_nm": [1, 2, 3], "skeletons": [4]}
    found = listed_errors(
        [
            {"kind": "split", "cost_nm": 1234.0, "labels": [7, 9], **place},
            {"kind": "merge", "cost_nm": math.nan, "bits": 0.25, "labels": [7], **place},
        ]
    )
    assert error_lines(found) == ["split, 1,234 nm, segment 7 and 9", "merge, 0.2500 bits, segment 7"]
    np.testing.assert_array_equal(found.places, [[1, 2, 3]] * 2)
