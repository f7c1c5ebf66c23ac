"""`connectomics view` opens the same as the reader, and says in one line why it cannot."""

import sys

import pytest

from connectomics.cli import view
from connectomics.cli.main import run
from connectomics.pipeline.layers import open_layers
from napari_connectomics.widgets import window


@pytest.fixture
def opened(monkeypatch):
    shown = []
    monkeypatch.setattr(window, "open_window", lambda layers: shown.extend(layers))
    return shown


def test_the_same_layers_as_the_reader(opened, reviewed, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    assert run(["view", str(reviewed)]) == 0
    assert [layer.name for layer in opened] == [layer.name for layer in open_layers(reviewed)]


def test_without_napari_the_extra_is_named(opened, reviewed, monkeypatch, capsys):
    monkeypatch.setattr(view.importlib.util, "find_spec", lambda name: None)
    assert run(["view", str(reviewed)]) == 2
    shown = capsys.readouterr().err
    assert "xray-connectomics[napari]" in shown and shown.count("\n") == 1 and opened == []


@pytest.mark.parametrize("arguments", [[], ["nothing.zarr"]])
def test_nothing_to_see(arguments, opened, capsys):
    assert run(["view", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and opened == []


@pytest.mark.skipif(sys.platform != "linux", reason="screens are told by the environment on Linux alone")
def test_without_a_screen(opened, reviewed, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert run(["view", str(reviewed)]) == 2
    assert "no screen" in capsys.readouterr().err and opened == []


def test_the_window_has_the_docks(viewer, reviewed, shoot):
    """As `open_window`, in the viewer of the tests."""
    viewer.open(str(reviewed), plugin="xray-connectomics")
    docks = window.add_docks(viewer)
    assert set(docks) == {"Run", "Review", "Score", "Annotate"} and docks["Review"].isVisible()
    for theme in ("light", "dark"):
        viewer.theme = theme
        shoot(f"window-{theme}")
    for dock in docks.values():
        dock.close()
