"""A review as a person does it: keys and clicks on the real window, from opening to opening again."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from connectomics.proofreading.log import read_log
from napari_connectomics.widgets.review_dock import ORDERS, ReviewDock
from napari_connectomics.widgets.review_picture import COLOURS, PAINT, SEEDS, SIDES
from tests.plugins.conftest import place_of, wait_until


@pytest.fixture
def review(viewer, reviewed, qtbot):
    """The dock beside an output; the review has begun."""
    viewer.open(str(reviewed), plugin="xray-connectomics")
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="Review", area="right")
    begin(dock, qtbot)
    yield dock
    dock.close()


def begin(dock, qtbot, author="ann"):
    dock.author.setText(author)
    qtbot.mouseClick(dock.begin_button, Qt.MouseButton.LeftButton)
    wait_until(qtbot, lambda: dock.begin_button.isEnabled())
    assert dock.controller is not None, dock.message.text()


def canvas_of(viewer):
    return viewer.window._qt_viewer.canvas.native


def press(viewer, qtbot, key, modifier=Qt.KeyboardModifier.NoModifier):
    native = canvas_of(viewer)
    native.setFocus()
    qtbot.keyClick(native, key, modifier)


def click(viewer, qtbot, place, modifier=Qt.KeyboardModifier.NoModifier):
    """Click on a world position of the section in view."""
    native = canvas_of(viewer)
    centre, zoom = np.array(viewer.camera.center[-2:]), viewer.camera.zoom
    y, x = (np.array(place[1:]) - centre) * zoom + np.array([native.height(), native.width()]) / 2
    pos = QPoint(round(x), round(y))
    qtbot.mouseMove(native, pos)
    qtbot.mouseClick(native, Qt.MouseButton.LeftButton, modifier, pos)


def drawn_at(viewer, place):
    """What the segmentation layer shows at a place of the section in view."""
    layer = viewer.layers["segmentation"]
    z, y, x = np.round(layer.world_to_data(place)).astype(int)
    return int(layer.data[0][z, y, x])


def test_the_queue_by_keys(review, viewer, qtbot, shoot):
    session = review.controller.session
    first = session.current
    half = max(review.picture.focus.voxel_size) / 2  # the section whose middle is nearest
    np.testing.assert_allclose(viewer.dims.point, first.place, atol=half)
    np.testing.assert_allclose(viewer.camera.center[-2:], first.place[1:])
    assert viewer.layers[SIDES].visible and not viewer.layers["segmentation"].visible
    shoot("review-first")
    press(viewer, qtbot, Qt.Key.Key_J)
    assert session.current != first
    press(viewer, qtbot, Qt.Key.Key_K)
    assert session.current == first
    press(viewer, qtbot, Qt.Key.Key_G)
    press(viewer, qtbot, Qt.Key.Key_N)
    assert "2 decided (1 right, 0 edited, 1 skipped)" in review.progress.text()
    viewer.dims.ndisplay = 3
    assert not viewer.layers["EM"].visible, "in 3-D the two sides stand alone"
    shoot("review-3d")
    viewer.dims.ndisplay = 2
    assert viewer.layers["EM"].visible
    review.alone.setChecked(False)
    assert viewer.layers["segmentation"].visible and not viewer.layers[SIDES].visible
    shoot("review-all")


def test_mend_undo_save_and_open_again(review, viewer, qtbot, reviewed, drawing, shoot):
    review.alone.setChecked(False)
    joined, parted = place_of(drawing, 1, 25), place_of(drawing, 2, 25)
    assert drawn_at(viewer, joined) == drawn_at(viewer, parted)
    press(viewer, qtbot, Qt.Key.Key_W)
    assert review.message.text() == "Split" and drawn_at(viewer, joined) != drawn_at(viewer, parted)
    press(viewer, qtbot, Qt.Key.Key_W)
    assert review.message.text() == "Merged"
    shoot("review-mended")
    press(viewer, qtbot, Qt.Key.Key_U)
    press(viewer, qtbot, Qt.Key.Key_U)
    assert drawn_at(viewer, joined) == drawn_at(viewer, parted)
    press(viewer, qtbot, Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert drawn_at(viewer, joined) != drawn_at(viewer, parted)
    saved = read_log(reviewed / "edits" / "ann.jsonl")
    assert len(saved) >= 5, "every step is saved as it is made"
    review.end()
    assert SIDES not in [layer.name for layer in viewer.layers]
    viewer.layers.clear()
    viewer.open(str(reviewed), plugin="xray-connectomics")
    begin(review, qtbot)
    assert drawn_at(viewer, joined) != drawn_at(viewer, parted), "what was saved is there again"
    assert "1 splits" in review.progress.text()


def test_merge_by_two_clicks_and_delete_by_one(review, viewer, qtbot, drawing, shoot):
    review.alone.setChecked(False)
    here, there = place_of(drawing, 0, 10), place_of(drawing, 0, 50)
    viewer.dims.set_point([0, 1, 2], here)
    qtbot.mouseClick(review.buttons["mode_merge"], Qt.MouseButton.LeftButton)
    click(viewer, qtbot, here)
    assert SEEDS in [layer.name for layer in viewer.layers], review.message.text()
    shoot("merge-first-click")
    click(viewer, qtbot, there)
    assert review.message.text() == "Merged" and drawn_at(viewer, here) == drawn_at(viewer, there)
    assert SEEDS not in [layer.name for layer in viewer.layers]
    shoot("merge-done")
    press(viewer, qtbot, Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    click(viewer, qtbot, here)
    assert review.message.text() == "Deleted" and drawn_at(viewer, there) == 0
    press(viewer, qtbot, Qt.Key.Key_H)
    click(viewer, qtbot, place_of(drawing, 1, 10))
    assert review.message.text() == "Deleted", "a click that looks does nothing"


def pixel_of(canvas, colour):
    """A pixel in the middle of what is drawn in a shade of this colour (#rrggbb)."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)], float)
    drawn = canvas[..., :3].astype(float)
    lengths = np.maximum(np.linalg.norm(drawn, axis=-1), 1)
    like = (drawn @ wanted > 0.97 * lengths * np.linalg.norm(wanted)) & (lengths > 60)
    y, x = np.median(np.argwhere(like), axis=0).astype(int)
    return QPoint(int(x), int(y))


def test_merge_by_two_clicks_in_three_dimensions(review, viewer, qtbot, shoot):
    session = review.controller.session
    while session.current.kind != "merge":
        press(viewer, qtbot, Qt.Key.Key_J)
    a, b = session.current.fragments
    viewer.dims.ndisplay = 3
    qtbot.mouseClick(review.buttons["mode_merge"], Qt.MouseButton.LeftButton)
    canvas = shoot("merge-3d")
    for side in (1, 2):
        pos = pixel_of(canvas, COLOURS[side])
        qtbot.mouseMove(canvas_of(viewer), pos)
        qtbot.mouseClick(canvas_of(viewer), Qt.MouseButton.LeftButton, pos=pos)
    assert review.message.text() == "Merged"
    assert len(set(session.lut_of(np.array([a, b], np.uint64)).tolist())) == 1
    press(viewer, qtbot, Qt.Key.Key_U)
    message = review.message.text()
    qtbot.mouseClick(canvas_of(viewer), Qt.MouseButton.LeftButton, pos=QPoint(5, 5))
    assert review.message.text() == message, "a click beside everything does nothing"


def test_split_by_points_and_by_paint(review, viewer, qtbot, drawing, shoot):
    review.alone.setChecked(False)
    above, below = place_of(drawing, 1, 10), place_of(drawing, 2, 50)
    viewer.dims.set_point([0, 1, 2], above)
    press(viewer, qtbot, Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    click(viewer, qtbot, above)
    click(viewer, qtbot, below, Qt.KeyboardModifier.ShiftModifier)
    assert len(viewer.layers[SEEDS].data) == 2, review.message.text()
    shoot("split-points")
    qtbot.mouseClick(review.buttons["split_now"], Qt.MouseButton.LeftButton)
    assert review.message.text() == "Split" and drawn_at(viewer, above) != drawn_at(viewer, below)
    shoot("split-done")
    press(viewer, qtbot, Qt.Key.Key_U)
    assert drawn_at(viewer, above) == drawn_at(viewer, below)
    qtbot.mouseClick(review.paint_button, Qt.MouseButton.LeftButton)
    layer = viewer.layers[PAINT]
    assert layer.mode == "paint" and viewer.layers.selection.active is layer
    click(viewer, qtbot, above)  # with napari's own brush
    layer.selected_label = 2
    click(viewer, qtbot, below)
    assert set(np.unique(layer.data)) == {0, 1, 2}
    shoot("split-paint")
    press(viewer, qtbot, Qt.Key.Key_W, Qt.KeyboardModifier.ShiftModifier)
    assert review.message.text() == "Split" and drawn_at(viewer, above) != drawn_at(viewer, below)
    assert PAINT not in [one.name for one in viewer.layers]


def test_paint_belongs_to_its_place_and_other_layers_to_their_owner(review, viewer, qtbot, drawing):
    own = viewer.add_points(np.zeros((1, 3)), name=SEEDS)
    viewer.layers.selection.active = viewer.layers["segmentation"]
    qtbot.mouseClick(review.paint_button, Qt.MouseButton.LeftButton)
    viewer.layers[PAINT].data[:] = 1
    press(viewer, qtbot, Qt.Key.Key_J)
    assert PAINT not in [one.name for one in viewer.layers]
    assert str(viewer.layers.selection.active.mode) != "paint"
    qtbot.mouseClick(review.paint_button, Qt.MouseButton.LeftButton)
    above, below = place_of(drawing, 1, 10), place_of(drawing, 2, 50)
    press(viewer, qtbot, Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    review.controller.click(above)
    review.controller.click(below, True)
    press(viewer, qtbot, Qt.Key.Key_W, Qt.KeyboardModifier.ShiftModifier)
    assert review.message.text() == "Split" and drawn_at(viewer, above) != drawn_at(viewer, below)
    review.end()
    assert own in viewer.layers and SIDES not in [one.name for one in viewer.layers]


def test_errors_of_a_score_wait_for_their_file(review, tmp_path):
    review.order.setCurrentText(next(text for text, order in ORDERS.items() if order == "errors"))
    assert "Name the CSV" in review.message.text()
    review.errors.setText(str(tmp_path / "none.csv"))
    review.errors.editingFinished.emit()
    assert "none.csv" in review.message.text()


def test_what_cannot_be_done_is_a_message(viewer, reviewed, qtbot):
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="Review", area="right")
    assert not dock.begin_button.isEnabled(), "there is nothing to review"
    viewer.open(str(reviewed), plugin="xray-connectomics")
    (reviewed / "lut" / "zarr.json").unlink()
    qtbot.mouseClick(dock.begin_button, Qt.MouseButton.LeftButton)
    wait_until(qtbot, lambda: dock.begin_button.isEnabled())
    assert dock.controller is None and str(reviewed) in dock.message.text()
    dock.close()


def test_own_label_tools_stay(review, viewer, qtbot, drawing):
    """Another layer's keys and its brush work beside the review."""
    viewer._new_labels()  # the button of the layer list
    own = viewer.layers[-1]
    viewer.layers.selection.active = own
    press(viewer, qtbot, Qt.Key.Key_P)
    assert own.mode == "paint"
    press(viewer, qtbot, Qt.Key.Key_M)
    assert own.selected_label == 1
    before = review.controller.session.revision
    review.controller.set_mode("delete")
    click(viewer, qtbot, place_of(drawing, 1, 25))
    assert own.data.any(), "the brush paints"
    assert review.controller.session.revision == before, "the brush has the click, not the review"


def test_help_is_in_the_tips_and_on_the_buttons(review):
    for button in review.buttons.values():
        assert "[" in button.text() and button.toolTip()
