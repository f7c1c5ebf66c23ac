"""Where a volume is: container and data set told apart by what is on disk."""

from pathlib import Path

import h5py
import pytest
import tifffile
import zarr

from connectomics.errors import InputError
from connectomics.io.locate import Location, locate, missing_data_set


@pytest.fixture
def place(tmp_path) -> Path:
    with h5py.File(tmp_path / "plain.dat", "w", userblock_size=1024) as file:  # HDF5 need not start at byte 0
        file["volumes/raw"] = [[[1]]]
    zarr.create_group(tmp_path / "out.zarr").create_group("labels/segmentation")
    zarr.create_array(tmp_path / "old", shape=(1, 1, 1), dtype="u1", zarr_format=2)
    tifffile.imwrite(tmp_path / "stack.h5", shape=(2, 3, 4), dtype="u1")  # a TIFF whatever its name
    for name, file in (("n5", "attributes.json"), ("precomputed", "info")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text('{"scales": []}')
    return tmp_path


@pytest.mark.parametrize(
    ("path", "container", "inner", "kind"),
    [
        ("plain.dat/volumes/raw", "plain.dat", "volumes/raw", "hdf5"),
        ("plain.dat", "plain.dat", "", "hdf5"),
        ("out.zarr/labels/segmentation", "out.zarr", "labels/segmentation", "zarr"),
        ("out.zarr/labels/none", "out.zarr", "labels/none", "zarr"),
        ("out.zarr/", "out.zarr", "", "zarr"),
        ("old", "old", "", "zarr"),
        ("stack.h5", "stack.h5", "", "tiff"),
        ("n5/volumes/raw", "n5", "volumes/raw", "n5"),
        ("precomputed", "precomputed", "", "precomputed"),
    ],
)
def test_container_and_data_set(place, path, container, inner, kind):
    found = locate(f"{place}/{path}")
    assert found == Location(str(place / container), inner, kind)
    assert found.name == f"{place}/{path}".rstrip("/")


def test_relative_paths(place, monkeypatch):
    monkeypatch.chdir(place)
    assert locate("out.zarr/labels") == Location(str(place / "out.zarr"), "labels", "zarr")
    monkeypatch.chdir(place / "out.zarr")
    assert locate("labels") == Location(str(place / "out.zarr"), "labels", "zarr")
    with pytest.raises(InputError, match="no such path"):
        locate("../none")


def test_an_address_is_left_to_zarr():
    assert locate("https://example.org/a.zarr/") == Location("https://example.org/a.zarr", "", "zarr")


def test_long_lists_are_cut():
    message = str(missing_data_set("a.h5", "x", [f"d{i}" for i in range(50)]))
    assert "d19 and 30 more" in message and "d20" not in message
    assert "holds none" in str(missing_data_set("a.h5", "x", []))
