"""Scores of what is shown, before and after the edits, and errors that a click leads to."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from connectomics.io.skeletons import write_swc
from connectomics.proofreading.session import ReviewSession
from napari_connectomics import sessions
from napari_connectomics.widgets.score_dock import ERRORS, ScoreDock
from tests.plugins.conftest import wait_until


@pytest.fixture
def dock(viewer, reviewed, drawing, qtbot):
    write_swc(reviewed.with_suffix(".skeletons"), drawing.traced())
    viewer.open(str(reviewed), plugin="xray-connectomics")
    made = ScoreDock(viewer)
    viewer.window.add_dock_widget(made, name="Score", area="right")
    yield made
    made.close()


def score(dock, qtbot):
    qtbot.mouseClick(dock.button, Qt.MouseButton.LeftButton)
    wait_until(qtbot, dock.button.isEnabled)


def cells(dock, name):
    rows = [row for row in range(dock.table.rowCount()) if dock.table.item(row, 0).text() == name]
    return [dock.table.item(rows[0], column).text() for column in (1, 2)]


def test_before_and_after_the_edits_and_to_an_error(dock, viewer, reviewed, qtbot, shoot):
    assert dock.segmentation.currentText() == "segmentation" and dock.truth.currentText() == "skeletons"
    score(dock, qtbot)
    before, after = cells(dock, "normalised run length")
    assert float(before) < 0.5 and after == "" and dock.list.count() == 2, dock.message.text()
    assert len(viewer.layers[ERRORS].data) == 2 and "not in these" not in dock.message.text()
    with ReviewSession.open(reviewed, "ann") as session:
        sessions.announce(session)
        session.apply()
        score(dock, qtbot)
        assert cells(dock, "normalised run length")[0] == before
        assert float(cells(dock, "normalised run length")[1]) > float(before) and dock.list.count() == 1
        assert "not in these" not in dock.message.text()
        dock.list.setCurrentRow(0)
        np.testing.assert_allclose(viewer.camera.center[-2:], dock.errors.places[0][1:])
        shoot("score")
        sessions.retire(session)
    score(dock, qtbot)
    assert cells(dock, "normalised run length") == [before, ""]
    assert "Edits of ann are not in these" in dock.message.text()


def test_a_click_on_a_point_goes_there(dock, viewer, qtbot):
    score(dock, qtbot)
    points = viewer.layers[ERRORS]
    viewer.dims.set_point([0, 1, 2], dock.errors.places[1])
    viewer.camera.center = dock.errors.places[1][1:]
    qtbot.wait(50)
    native = viewer.window._qt_viewer.canvas.native
    qtbot.mouseMove(native, native.rect().center())
    qtbot.mouseClick(native, Qt.MouseButton.LeftButton, pos=native.rect().center())
    assert dock.list.currentRow() == 1 and viewer.layers.selection.active is points


def test_as_the_challenge_scores_it(dock, qtbot):
    dock.xpress.setChecked(True)
    score(dock, qtbot)
    assert float(cells(dock, "XPRESS rank (ERL and Rand)")[0]) < 1, dock.message.text()


def test_what_cannot_be_scored_is_a_message(dock, viewer, qtbot):
    dock.truth.setEditText("nothing.swc")
    score(dock, qtbot)
    assert "nothing.swc" in dock.message.text() and dock.table.rowCount() == 0
    viewer.layers.clear()
    score(dock, qtbot)
    assert "choose a segmentation" in dock.message.text()
