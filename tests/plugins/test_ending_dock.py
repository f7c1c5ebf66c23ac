"""What a dock has begun ends with its window, its frame or itself, and only then."""

import sys

import pytest
from napari.viewer import Viewer
from qtpy.QtWidgets import QWidget

from napari_connectomics.run_job import Job
from napari_connectomics.widgets import window
from napari_connectomics.widgets.ending import Ending
from tests.plugins.conftest import SCREEN, wait_until

pytestmark = pytest.mark.skipif(not SCREEN, reason="no screen")


@pytest.fixture
def own(qtbot, plugin):
    """A window that the test itself closes."""
    return Viewer(show=True)


def test_closing_the_window_ends_the_run_and_the_review(own, reviewed, qtbot):
    own.open(str(reviewed), plugin="xray-connectomics")
    docks = window.add_docks(own)
    qtbot.wait(50)
    docks["Review"].author.setText("ann")
    docks["Review"].begin()
    wait_until(qtbot, lambda: docks["Review"].controller is not None)
    job = Job(["doctor"], str(reviewed))
    job.start()
    docks["Run"].job = job
    assert job.running and (reviewed / "edits" / "ann.lock").exists()
    said, over = job._said, [dock.ending for dock in docks.values()]
    own.window._qt_window.close()
    assert not job.running and not said.exists() and not (reviewed / "edits" / "ann.lock").exists()
    assert all(ending.over for ending in over)


def test_a_dock_taken_out_is_over_and_the_others_are_not(viewer):
    docks = window.add_docks(viewer)
    viewer.window.remove_dock_widget(docks["Score"])
    assert docks["Score"].ending.over and not docks["Run"].ending.over
    for name in ("Run", "Review", "Annotate"):
        docks[name].close()


def test_hiding_floating_and_a_close_that_is_refused_end_nothing(viewer, qtbot):
    ends, dock = [], QWidget()
    ending = Ending(dock, lambda: ends.append(1))
    frame = viewer.window.add_dock_widget(dock, name="any")
    main = viewer.window._qt_window
    for change in (frame.hide, frame.show, lambda: frame.setFloating(True), lambda: frame.setFloating(False)):
        change()
        qtbot.wait(20)
    if sys.platform == "linux":
        main.hide()
        main.show()
    assert ends == [] and not ending.over
    dock.close()
    dock.close()
    assert ends == [1]
