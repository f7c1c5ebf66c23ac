"""The wheel carries every folder of the package; what data/sources.toml lists is complete."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def read(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


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
    project = read("pyproject.toml")["project"]
    constraints = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in constraints.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9a-z.]+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["test"], *extras["cluster"]]
    assert {re.split(r"[<>=~!;\[ ]", each)[0].lower() for each in wanted} <= pinned


@pytest.mark.parametrize("name", sorted(read("data/sources.toml")))
def test_a_public_data_set_is_described_in_full(name: str) -> None:
    source = read("data/sources.toml")[name]
    required = {"title", "modality", "voxel_size", "licence", "citation", "homepage", "files"}
    assert required <= set(source) <= required | {"note"}
    assert source["modality"] in {"xray", "em"}
    assert len(source["voxel_size"]) == 3
    for file in source["files"]:
        assert set(file) == {"name", "url", "sha256", "about"}
        assert file["url"].startswith("https://") and file["url"].endswith("/" + file["name"])
        assert re.fullmatch(r"[0-9a-f]{64}|", file["sha256"])
