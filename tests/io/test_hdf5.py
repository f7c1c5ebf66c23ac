"""HDF5: any type and layout, geometry from attributes, truncation."""

import pickle

import h5py
import numpy as np
import pytest

from connectomics.cli.main import run
from connectomics.errors import FormatError, GeometryError, InputError
from connectomics.io.opening import open_volume

SIZE = (40, 4, 4)


@pytest.fixture
def cremi(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (20, 40, 50), np.uint8)
    with h5py.File(tmp_path / "cremi.hdf", "w") as file:
        raw = file.create_dataset("volumes/raw", data=data, chunks=(10, 20, 25))
        raw.attrs["resolution"], raw.attrs["offset"] = (40.0, 4.0, 4.0), (120, 0, -8)
        file["volumes/labels/ids"] = data.astype("u8")
        file["names"] = np.arange(5)
    return tmp_path / "cremi.hdf", data


def test_attributes_place_a_data_set(cremi):
    path, data = cremi
    volume = open_volume(path / "volumes/raw")
    assert volume.voxel_size == (40, 4, 4) and volume.offset == (120, 0, -8) and volume.chunks == (10, 20, 25)
    assert (volume.read_box((slice(3, 7), slice(0, 40), slice(9, 10))) == data[3:7, :, 9:10]).all()
    assert (pickle.loads(pickle.dumps(volume)).read() == data).all()


def test_what_is_missing_is_said(cremi):
    path, _ = cremi
    there = r"volumes/labels/ids \(20, 40, 50\), volumes/raw \(20, 40, 50\)\."
    for wanted in ("volumes", "raw"):
        with pytest.raises(InputError, match=f"no data set '{wanted}'.*{there}"):
            open_volume(path / wanted)
    with pytest.raises(InputError, match=f"name one.*{there}"):
        open_volume(path)
    with pytest.raises(InputError, match="level 1"):
        open_volume(path / "volumes/raw", level=1)
    with pytest.raises(GeometryError, match="--voxel-size"):
        open_volume(path / "volumes/labels/ids")


def test_one_data_set_need_not_be_named(tmp_path):
    with h5py.File(tmp_path / "a", "w") as file:
        file["main"] = np.zeros((4, 4, 4))
    assert open_volume(tmp_path / "a", SIZE).shape == (4, 4, 4)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "u4", ">u8", "i2", "f2", ">f4", "f8"])
@pytest.mark.parametrize("options", [{}, {"chunks": (2, 5, 3)}, {"compression": "gzip"}])
def test_types_and_layouts(tmp_path, dtype, options):
    data = np.random.default_rng(0).integers(0, 100, (4, 5, 6)).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=data, **options)
    read = open_volume(tmp_path / "a.h5/raw", SIZE).read()
    assert read.dtype == np.dtype(dtype).newbyteorder("=") and (read == data).all()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_file(cremi, share):
    path, _ = cremi
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FormatError, match="truncated or corrupt"):
        open_volume(path / "volumes/raw")


def test_a_damaged_chunk(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (20, 40, 50), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("raw", data=data, chunks=(10, 20, 25), compression="gzip")
        place = made.id.get_chunk_info(0).byte_offset
    with (tmp_path / "a.h5").open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\xff" * 100)
    volume = open_volume(tmp_path / "a.h5/raw", SIZE)
    with pytest.raises(FormatError, match=r"voxels \[0:5, 0:5, 0:5\]"):
        volume.read_box((slice(0, 5),) * 3)
    assert (volume.read_box((slice(10, 20), slice(20, 40), slice(25, 50))) == data[10:, 20:, 25:]).all()


def test_an_attribute_that_makes_no_sense(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = np.zeros((4, 4, 4))
        file["raw"].attrs["resolution"] = 4.0
    with pytest.raises(GeometryError, match="resolution"):
        open_volume(tmp_path / "a.h5/raw")


@pytest.mark.parametrize("bad", [0, -4, float("nan"), float("inf")])
@pytest.mark.parametrize(("key", "what"), [("resolution", "voxel size"), ("offset", "offset")])
def test_a_place_that_no_volume_can_have(tmp_path, capsys, key, what, bad):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = np.zeros((4, 4, 4))
        file["raw"].attrs["resolution"] = SIZE
        file["raw"].attrs[key] = (4, bad, 4)
    refused = key == "resolution" or not np.isfinite(bad)
    assert run(["info", f"{tmp_path}/a.h5/raw"]) == (2 if refused else 0)
    shown = " ".join(capsys.readouterr().err.split())
    assert (f"a.h5/raw: the {what}" in shown) == refused


def test_every_name_of_a_data_set_opens_it_and_links_out_of_the_file_do_not(tmp_path):
    data = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = data
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = data
        file["alias"] = file["raw"]
        file["soft"] = h5py.SoftLink("/raw")
        file["out"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
        file["gone"] = h5py.SoftLink("/nothing")
    for name in ("raw", "alias", "soft"):
        assert (open_volume(tmp_path / "a.h5" / name, SIZE).read() == data).all()
    for name in ("out", "gone"):
        with pytest.raises(InputError, match=f"no data set '{name}'"):
            open_volume(tmp_path / "a.h5" / name, SIZE)


def test_attributes_of_any_type_are_told(tmp_path, capsys):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = file.create_dataset("raw", data=np.ones((3, 4, 5), np.uint8))
        for axis in range(3):
            file[f"axis{axis}"] = np.arange(raw.shape[axis])
            file[f"axis{axis}"].make_scale()
            raw.dims[axis].attach_scale(file[f"axis{axis}"])
        raw.attrs["MATLAB_class"], raw.attrs["none"] = np.bytes_(b"uint8"), h5py.Empty("f")
        raw.attrs["complex"], raw.attrs["names"] = 1j, np.array([b"a", b"b"])
    assert run(["info", f"{tmp_path}/a.h5/raw", "--voxel-size", "40", "4", "4"]) == 0
    assert "uint8" in capsys.readouterr().out
    line = ["convert", f"{tmp_path}/a.h5/raw", f"{tmp_path}/a.zarr", "--voxel-size", "40", "4", "4"]
    assert run([*line, "--quiet"]) == 0


def test_what_is_no_volume_is_not_there(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["line"], file["text"], file["group/one"] = np.arange(5), "words", np.arange(3)
        file["empty"] = h5py.Empty("f")
    for name in ("line", "text", "group", "empty", "nope"):
        with pytest.raises(InputError, match=f"no data set '{name}' in it; it holds none"):
            open_volume(tmp_path / "a.h5" / name, SIZE)
