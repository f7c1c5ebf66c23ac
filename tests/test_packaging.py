"""The wheel carries the whole package and asks for all it imports; data/sources.toml is complete."""

import ast
import itertools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def read(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def plain(requirement: str) -> str:
    """Name of a requirement or constraint, as package indexes spell it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=~!;\[ ]", requirement)[0]).lower()


def imported_by(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"connectomics"}


def folders_of_the_package() -> set[str]:
    modules = (ROOT / "connectomics").rglob("*.py")
    return {".".join(module.parent.relative_to(ROOT).parts) for module in modules}


def test_wheel_lists_every_folder_of_the_package() -> None:
    setuptools = read("pyproject.toml")["tool"]["setuptools"]
    listed, moved = set(setuptools["packages"]), set(setuptools["package-dir"])
    assert listed - moved == folders_of_the_package()
    assert moved <= listed
    assert set(setuptools["package-data"]) <= listed


def test_every_dependency_has_an_exact_version() -> None:
    constraints = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in constraints.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9a-z.]+", line) for line in lines)
    project = read("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    parts = (extras["test"], extras["cluster"], extras["remote"], extras["napari"])
    wanted = {plain(each) for each in [*project["dependencies"], *itertools.chain(*parts)]}
    assert wanted <= {plain(line) for line in lines}


def test_everything_imported_is_asked_for() -> None:
    project = read("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    asked = {plain(each) for each in [*project["dependencies"], *extras["cluster"], *extras["remote"]]}
    owners = packages_distributions()
    for module in (ROOT / "connectomics").rglob("*.py"):
        for name in imported_by(module):
            distributions = {plain(each) for each in owners.get(name, [name])}
            assert distributions & asked, (
                f"{module.relative_to(ROOT)} imports {name}: add it to pyproject.toml"
            )


@pytest.mark.parametrize("name", sorted(read("data/sources.toml")))
def test_a_public_data_set_is_described_in_full(name: str) -> None:
    source = read("data/sources.toml")[name]
    required = {"title", "modality", "voxel_size", "licence", "citation", "homepage", "files"}
    assert required <= set(source) <= required | {"note"}
    assert source["modality"] in {"xray", "em"}
    assert len(source["voxel_size"]) == 3
    for file in source["files"]:
        assert set(file) == {"name", "url", "sha256", "holds", "about"}
        assert file["url"].startswith("https://") and file["url"].endswith("/" + file["name"])
        assert re.fullmatch(r"[0-9a-f]{64}|", file["sha256"])
