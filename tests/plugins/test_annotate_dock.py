"""Crops painted in a real viewer, by its own brush, and saved."""

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt

from connectomics.cli.main import run
from connectomics.errors import NoSpaceError
from connectomics.io.volume import Volume
from connectomics.proofreading.annotating import AnnotationFolder
from napari_connectomics.widgets import window
from napari_connectomics.widgets.annotate_dock import PAINTED, PROPOSED, AnnotateDock
from tests.proofreading.test_annotating import on_disk, write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "todo")


@pytest.fixture
def dock(viewer, folder):
    made = AnnotateDock(viewer)
    viewer.window.add_dock_widget(made, name="Annotate", area="right")
    made.open_folder(folder)
    yield made
    made.close()


def paint(viewer, plane=4, label=None):
    """A stroke of napari's own brush."""
    layer = viewer.layers[PAINTED]
    layer.brush_size = 4
    if label is not None:
        layer.selected_label = label
    layer.paint((plane, 5, 6), layer.selected_label)
    return layer


def test_a_crop_is_shown_painted_and_saved(dock, viewer, folder, qtbot, shoot):
    assert [layer.name for layer in viewer.layers] == ["crop-1", PROPOSED, PAINTED]
    assert dock.list.count() == 3 and dock.list.currentRow() == 0 and "0 of 3" in dock.choose.text()
    painted = viewer.layers[PAINTED]
    assert viewer.layers.selection.active is painted and str(painted.mode) == "paint"
    assert not viewer.layers[PROPOSED].editable
    paint(viewer)
    assert not on_disk(folder).any()
    dock.timer.timeout.emit()
    np.testing.assert_array_equal(on_disk(folder), painted.data)
    assert on_disk(folder).any() and "begun" in dock.list.item(0).text()
    shoot("annotate")


def test_layers_lie_where_the_crop_lies(dock, viewer):
    for name in ("crop-1", PROPOSED, PAINTED):
        layer = viewer.layers[name]
        np.testing.assert_allclose(layer.scale, (30, 10, 10), err_msg=name)
        np.testing.assert_allclose(layer.translate, (315, 5, 55), err_msg=name)
    np.testing.assert_allclose(viewer.dims.point, (300 + 4 * 30, 50, 110), atol=31)


def test_another_crop_saves_this_one_and_takes_its_layers(dock, viewer, folder):
    paint(viewer)
    dock.list.setCurrentRow(1)
    assert on_disk(folder).any() and not on_disk(folder, "crop-2").any()
    assert [layer.name for layer in viewer.layers] == ["crop-2", PROPOSED, PAINTED]
    dock.list.setCurrentRow(0)
    np.testing.assert_array_equal(viewer.layers[PAINTED].data, on_disk(folder))
    assert viewer.layers[PAINTED].selected_label == 2


def test_from_the_proposal_to_done(dock, viewer, folder, qtbot):
    qtbot.mouseClick(dock.begin, Qt.MouseButton.LeftButton)
    np.testing.assert_array_equal(on_disk(folder), viewer.layers[PROPOSED].data)
    assert viewer.layers[PAINTED].selected_label == 3
    paint(viewer, label=9)
    assert (viewer.layers[PROPOSED].data < 9).all()
    dock.done.click()
    assert AnnotationFolder(folder).states()[0].state == "done" and (on_disk(folder) == 9).any()
    assert "1 of 3" in dock.choose.text() and "done" in dock.list.item(0).text()
    qtbot.mouseClick(dock.begin, Qt.MouseButton.LeftButton)
    assert "painted already" in dock.message.text() and (on_disk(folder) == 9).any()


def test_what_cannot_be_saved_stays_open_and_says_so(dock, viewer, folder):
    other = AnnotationFolder(folder).open(0)
    other.painted[0] = 5
    other.save()
    paint(viewer)
    dock.list.setCurrentRow(1)
    assert "another program" in dock.message.text() and dock.list.currentRow() == 0
    assert viewer.layers["crop-1"] and viewer.layers[PAINTED].data.any()
    np.testing.assert_array_equal(on_disk(folder), other.painted)
    mine = viewer.layers[PAINTED].data.copy()
    dock.again.click()
    np.testing.assert_array_equal(viewer.layers[PAINTED].data, other.painted)
    np.testing.assert_array_equal(np.load(folder / "crop-1.unsaved-1.npy"), mine)
    paint(viewer, label=77)
    dock.save()
    assert (on_disk(folder) == 77).any()


def test_layers_that_are_removed_are_saved_first(dock, viewer, folder, qtbot):
    paint(viewer)
    viewer.layers.select_all()
    viewer.layers.remove_selected()
    qtbot.wait(20)
    assert on_disk(folder).any() and not len(viewer.layers) and not dock.done.isEnabled()
    dock.list.setCurrentRow(2)
    assert [layer.name for layer in viewer.layers] == ["crop-3", PROPOSED, PAINTED]


@pytest.mark.parametrize("how", ["dock", "frame"])
def test_closing_saves(dock, viewer, folder, qtbot, how):
    paint(viewer)
    if how == "dock":
        dock.close()
    else:
        viewer.window.remove_dock_widget(dock)
    assert on_disk(folder).any() and dock.ending.over and not dock.timer.isActive()


def test_what_cannot_be_saved_when_all_is_closed_is_kept_beside(dock, viewer, folder, monkeypatch):
    def full(*arguments):
        raise NoSpaceError("no room")

    paint(viewer)
    mine = viewer.layers[PAINTED].data.copy()
    monkeypatch.setattr(Volume, "write_box", full)
    dock.close()
    np.testing.assert_array_equal(np.load(folder / "crop-1.unsaved-1.npy"), mine)


def test_data_that_napari_replaced_are_saved_too(dock, viewer, folder):
    layer = paint(viewer)
    layer.data = layer.data.astype(np.int16)
    paint(viewer, plane=2, label=5)
    assert dock.save()
    np.testing.assert_array_equal(on_disk(folder), layer.data)
    assert (on_disk(folder) == 5).any()
    layer.data = layer.data[:2]
    assert not dock.save() and "must be (8, 10, 12)" in dock.message.text()


def test_a_copy_of_the_layer_is_the_persons_own(dock, viewer, folder):
    copy = Labels.create(*viewer.layers[PAINTED].as_layer_data_tuple())
    copy.name = "mine"
    viewer.add_layer(copy)
    paint(viewer)
    dock.list.setCurrentRow(1)
    assert copy in viewer.layers and on_disk(folder).any()
    viewer.layers.remove(copy)
    assert dock.crop is not None


def test_one_damaged_crop_does_not_hide_the_others(viewer, folder, tmp_path, qtbot):
    (folder / "crop-2.zarr" / "labels" / "annotation").rename(tmp_path / "gone")
    dock = AnnotateDock(viewer)
    qtbot.addWidget(dock)
    dock.open_folder(folder)
    assert "damaged" in dock.list.item(1).text() and dock.crop is not None
    dock.list.setCurrentRow(1)
    assert "annotation" in dock.message.text() and dock.crop is None
    dock.list.setCurrentRow(2)
    assert dock.crop.crop.name == "crop-3"
    dock.close()


def test_a_folder_that_is_none(dock, viewer, tmp_path):
    dock.open_folder(tmp_path)
    assert "todo.json" in dock.message.text()


def test_view_opens_it(folder, monkeypatch, capsys, tmp_path):
    said = {}
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(window, "open_window", lambda layers, **more: said.update(more, layers=layers))
    assert run(["view", str(folder)]) == 0
    assert said == {"annotate": folder, "layers": []}
    other = write_folder(tmp_path / "other")
    assert run(["view", str(folder), str(other)]) == 2
    assert "one folder" in capsys.readouterr().err


def test_the_window_has_it_in_front(viewer, folder):
    docks = window.add_docks(viewer, folder)
    assert docks["Annotate"].isVisible() and docks["Annotate"].crop is not None
    for dock in docks.values():
        dock.close()
