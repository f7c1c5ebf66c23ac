"""A model is run on what is in view: the result appears meanwhile, Cancel stops it, mistakes are told."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from connectomics.io.ome_zarr import create_array
from napari_connectomics.run_job import Job, Update
from napari_connectomics.widgets.run_dock import RunDock
from tests.plugins.conftest import wait_until

SHAPE = (32, 48, 48)


@pytest.fixture
def dock(viewer, tmp_path, qtbot):
    """The dock beside a small image, with the model that is shipped for its voxel size."""
    layout = {"voxel_size": (33.0,) * 3, "offset": (0.0, 330.0, 0.0), "chunks": (32, 32, 32)}
    image = create_array(tmp_path / "image.zarr", "", shape=SHAPE, dtype=np.uint8, **layout)
    bright = np.random.default_rng(0).integers(0, 40, SHAPE) + 150 * (np.arange(48) % 24 > 4)
    image.write_box(tuple(slice(0, n) for n in SHAPE), bright.astype(np.uint8))
    viewer.open(str(tmp_path / "image.zarr"), plugin="xray-connectomics")
    made = RunDock(viewer)
    viewer.window.add_dock_widget(made, name="Run", area="right")
    assert made.model.currentText() == "phantom-xnh"
    made.out.setText(str(tmp_path / "out.zarr"))
    yield made
    made.close()


def press(button, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_segment_what_is_in_view(dock, viewer, qtbot, tmp_path, shoot):
    dock.in_view.setChecked(True)
    dock.depth.setValue(32)
    dock.form.fill({"keep_affinities": True, "memory": "1GB", "threads": "1", "boundary_threshold": "0.01"})
    press(dock.run_button, qtbot)
    assert dock.job is not None and not dock.run_button.isEnabled(), dock.message.text()
    assert "--roi-offset" in dock.shown_command.text()
    appeared = []
    dock.worker.yielded.connect(lambda update: appeared.append([layer.name for layer in viewer.layers]))
    wait_until(qtbot, lambda: dock.job is None, 300)
    assert dock.message.text() == "done"
    names = [layer.name for layer in viewer.layers]
    assert {"affinities", "segmentation", "uncertainty"} < set(names)
    assert viewer.layers["segmentation"].visible and viewer.layers["segmentation"].data[0][16].any()
    assert any(len(now) < len(names) for now in appeared), "nothing was told while it ran"
    shoot("run")


def test_a_run_can_be_cancelled(dock, qtbot, tmp_path):
    press(dock.run_button, qtbot)
    press(dock.cancel_button, qtbot)
    wait_until(qtbot, lambda: dock.job is None, 120)
    assert "cancelled" in dock.message.text() and dock.run_button.isEnabled()


def test_what_a_run_says_of_a_mistake_is_shown(dock, qtbot, shoot):
    dock.model.setEditText("no-such-model")
    press(dock.run_button, qtbot)
    wait_until(qtbot, lambda: dock.job is None, 120)
    assert "no such model" in dock.message.text() and dock.run_button.isEnabled()
    shoot("run-mistake")


def test_what_does_not_fit_is_said_at_once(dock, viewer, qtbot):
    dock.form.fill({"threshold": "4"})
    press(dock.run_button, qtbot)
    assert dock.job is None and "less than or equal to 1" in dock.message.text()
    dock.form.fill({"threshold": ""})
    dock.in_view.setChecked(True)
    viewer.camera.center = (1e6, 1e6)
    press(dock.run_button, qtbot)
    assert dock.job is None and "in view" in dock.message.text()
    viewer.layers.clear()
    press(dock.run_button, qtbot)
    assert dock.job is None and "choose an image" in dock.message.text()


def test_the_form_follows_the_command(dock):
    assert "threshold" in dock.form.fields and dock.form.fields["threshold"].toolTip()
    dock.form.fill({"flips": "2"})
    dock.command.setCurrentText("translate")
    assert "samples" in dock.form.fields and "threshold" not in dock.form.fields
    assert dock.form.given["flips"] == "2", "what was filled in stays"
    assert dock.model.itemText(0) == "xnh-to-em"


def test_only_the_layers_of_the_result_go_when_a_run_ends(dock, viewer, tmp_path):
    image = np.arange(16**3, dtype=np.uint8).reshape(16, 16, 16)
    for name in ("t2.zarr", "t.zarr"):
        for part in ("em", "affinities"):
            create_array(
                tmp_path / name, part, shape=image.shape, dtype=image.dtype, chunks=image.shape,
                voxel_size=(10, 10, 10), offset=(0, 0, 0),
            ).write_box((slice(None),) * 3, image)  # fmt: skip
        viewer.open(str(tmp_path / name), plugin="xray-connectomics")
    there = [dock.canvas.known(one).location for one in viewer.layers if dock.canvas.known(one) is not None]
    kept = tuple(one for one in dock.canvas.opened("image") if one.location.endswith("t.zarr/em"))
    dock.job = Job([], str(tmp_path / "t.zarr"))
    dock.show_update(Update(running=False, code=0, layers=kept))
    left = [dock.canvas.known(one).location for one in viewer.layers if dock.canvas.known(one) is not None]
    assert sorted(set(there) - set(left)) == [str(tmp_path / "t.zarr/affinities")]
