"""A real viewer on a real (virtual) screen, and what there is to open in it."""

import importlib.util
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from connectomics.io.ome_zarr import create_array

# napari's settings are those of a new user, and nobody's are changed
os.environ["NAPARI_CONFIG"] = os.path.join(tempfile.mkdtemp(prefix="napari-settings-"), "settings.yaml")

HAS_NAPARI = all(importlib.util.find_spec(name) for name in ("napari", "pytestqt"))
if HAS_NAPARI:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # napari and npe2 use what pydantic will drop
        import npe2
        from napari.viewer import Viewer

        from napari_connectomics.widgets import window  # noqa: F401 (what it imports is imported here)
else:  # models and controllers are tested without
    collect_ignore_glob = ["*_dock.py", "test_reader.py", "test_window.py", "test_manifest.py"]

SCREEN = sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "plugins" / "napari_connectomics" / "napari.yaml"


def pytest_collection_modifyitems(items):
    """napari and Qt warn of what they themselves do; our own warnings stay errors."""
    for item in items:
        if Path(str(item.fspath)).parent == Path(__file__).parent:
            for category in ("FutureWarning", "DeprecationWarning", "ResourceWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{category}"))


@pytest.fixture(scope="session")
def plugin():
    """The plugin as npe2 knows it; registered by hand where the installed distribution is an older one."""
    manager = npe2.PluginManager.instance()
    manager.discover()
    if "xray-connectomics" not in manager:
        manager.register(npe2.PluginManifest.from_file(MANIFEST))
    return manager


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Where screenshots go: CONNECTOMICS_SCREENSHOTS, or a folder of the test run."""
    folder = os.environ.get("CONNECTOMICS_SCREENSHOTS")
    place = Path(folder) if folder else tmp_path_factory.getbasetemp() / "screenshots"
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture
def viewer(qtbot, plugin):
    """A window of 1200 x 800 pixels, closed at the end."""
    if not SCREEN:
        pytest.fail("no screen: run the tests with xvfb-run") if os.environ.get("CI") else pytest.skip(
            "no screen"
        )
    made = Viewer(show=True)
    made.window._qt_window.resize(1200, 800)
    yield made
    made.close()


@pytest.fixture
def shoot(viewer, pictures, qtbot):
    """Take a picture of the window; something must be drawn on its canvas."""

    def take(name):
        qtbot.wait(50)
        picture = viewer.screenshot(str(pictures / f"{name}.png"), canvas_only=False, flash=False)
        canvas = viewer.screenshot(canvas_only=True, flash=False)
        assert picture.shape[0] > 400 and len(np.unique(canvas[..., :3])) > 8, f"{name}: nothing is drawn"
        return canvas

    return take


def wait_until(qtbot, met, seconds=60.0):
    """Let the window live until something is so."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it never came to be"
        qtbot.wait(20)


@pytest.fixture(scope="session")
def drawing():
    """The drawings of `tests/proofreading`: tubes with a false merge and a split."""
    place = ROOT / "tests" / "proofreading" / "conftest.py"
    spec = importlib.util.spec_from_file_location("drawn_tubes", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def reviewed(tmp_path, drawing):
    """A small output of `segment`: the queue begins with a false merge, then comes a split."""
    tube = drawing.tubes()
    path = tmp_path / "out.zarr"
    drawing.write_output(
        path, tube.fragments, tube.lut, tube.affinities, wrong=tube.wrong, keep_affinities=True
    )
    noise = np.random.default_rng(0).integers(0, 60, tube.fragments.shape)
    image = (60 + noise + 80 * (tube.truth % 2)).astype(np.uint8)
    layout = {"voxel_size": drawing.VOXEL_SIZE, "offset": drawing.OFFSET, "chunks": (8, 8, 16)}
    made = create_array(path, "em", shape=image.shape, dtype=np.uint8, **layout)
    made.write_box(tuple(slice(0, n) for n in image.shape), image)
    return path


def place_of(drawing, tube, x, z=4):
    """World position of the middle of a tube (0, 1, 2) at a voxel along it, nm."""
    voxel = np.array([z + 0.5, 8 * tube + 4.5, x + 0.5])
    return tuple((voxel * drawing.VOXEL_SIZE + drawing.OFFSET).tolist())
