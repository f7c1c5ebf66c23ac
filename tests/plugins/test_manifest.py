"""The manifest says what is there, and what knows no GUI imports none."""

import re
import tomllib
from pathlib import Path

import npe2
import pytest
from npe2.manifest.utils import import_python_name

from tests.plugins.conftest import MANIFEST, ROOT

GUI = re.compile(r"^\s*(?:import|from)\s+(?:napari|qtpy|PySide\d|PyQt\d|vispy|magicgui)\b", re.MULTILINE)
PLUGIN = MANIFEST.parent


def test_npe2_takes_the_manifest():
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert manifest.name == project["name"]
    assert project["entry-points"]["napari.manifest"] == {manifest.name: "napari_connectomics:napari.yaml"}


def test_every_command_is_there():
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    names = [command.python_name for command in manifest.contributions.commands]
    assert len(names) == 6 and all(callable(import_python_name(name)) for name in names)


@pytest.mark.parametrize("path", sorted(PLUGIN.glob("*.py")), ids=lambda path: path.name)
def test_what_is_not_a_widget_knows_no_gui(path: Path):
    assert not GUI.search(path.read_text())


def test_widgets_do():
    assert GUI.search((PLUGIN / "widgets" / "canvas.py").read_text()), "test invalid"


def test_the_wheel_carries_the_plugin():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for folder in (PLUGIN, PLUGIN / "widgets"):
        name = ".".join(folder.relative_to(ROOT / "plugins").parts)
        assert name in setuptools["packages"]
        assert setuptools["package-dir"][name] == folder.relative_to(ROOT).as_posix()
    assert setuptools["package-data"]["napari_connectomics"] == ["napari.yaml"]
