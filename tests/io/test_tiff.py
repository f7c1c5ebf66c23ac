"""TIFF stacks: in one piece or compressed, with and without a voxel size, damaged."""

import pickle

import numpy as np
import pytest
import tifffile

from connectomics.errors import FormatError, GeometryError, InputError
from connectomics.io.opening import open_volume

SIZE = (40, 4, 4)
DATA = np.random.default_rng(0).integers(0, 200, (6, 20, 30), np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"tile": (16, 16), "compression": "zlib"},
        {"metadata": None},
        {"photometric": "minisblack", "rowsperstrip": 4},
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_layouts(tmp_path, options, dtype):
    data = DATA.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, **{"photometric": "minisblack", **options})
    volume = open_volume(tmp_path / "a.tif", SIZE)
    assert volume.shape == (6, 20, 30) and volume.dtype == np.dtype(dtype)
    part = volume.read_box((slice(2, 5), slice(3, 19), slice(7, 30)))
    assert (part == data[2:5, 3:19, 7:30]).all()
    assert (pickle.loads(pickle.dumps(volume)).read() == data).all()


def test_ome_states_a_voxel_size(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.004, "PhysicalSizeY": 4.0, "PhysicalSizeZ": 40}
    metadata |= {"PhysicalSizeYUnit": "nm", "PhysicalSizeZUnit": "nm"}  # x in µm, the default of the schema
    tifffile.imwrite(tmp_path / "a.ome.tif", DATA, metadata=metadata, photometric="minisblack")
    assert open_volume(tmp_path / "a.ome.tif").voxel_size == (40, 4, 4)


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
def test_imagej_states_a_voxel_size(tmp_path, unit):
    metadata = {"axes": "ZYX", "spacing": 0.04, "unit": unit}
    tifffile.imwrite(tmp_path / "a.tif", DATA, imagej=True, resolution=(250, 125), metadata=metadata)
    assert open_volume(tmp_path / "a.tif").voxel_size == (40, 8, 4)


def test_without_a_unit_a_voxel_size_is_needed(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DATA, photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", DATA, imagej=True, metadata={"axes": "ZYX", "spacing": 0.04})
    for name in ("a.tif", "b.tif"):
        with pytest.raises(GeometryError, match="--voxel-size"):
            open_volume(tmp_path / name)


def test_axes(tmp_path):
    coloured = np.stack([DATA, DATA + 1], axis=1)
    tifffile.imwrite(tmp_path / "c.tif", coloured, imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(GeometryError, match="2 channels"):
        open_volume(tmp_path / "c.tif", SIZE)
    assert (
        open_volume(tmp_path / "c.tif", SIZE, channels=True).read() == coloured.transpose(1, 0, 2, 3)
    ).all()
    tifffile.imwrite(tmp_path / "flat.tif", DATA[0])
    with pytest.raises(GeometryError, match="2-D"):
        open_volume(tmp_path / "flat.tif", SIZE)
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(GeometryError, match="expected 3-D"):
        open_volume(tmp_path / "rgb.tif", SIZE)
    with pytest.raises(InputError, match="level 1"):
        open_volume(tmp_path / "c.tif", SIZE, level=1, channels=True)
    with pytest.raises(InputError, match="TIFF file"):
        open_volume(tmp_path / "c.tif/raw", SIZE)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("share", [0.002, 0.5, 0.9])
def test_a_truncated_file(tmp_path, options, share):
    tifffile.imwrite(tmp_path / "a.tif", DATA, photometric="minisblack", **options)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FormatError, match=r"a\.tif"):
        open_volume(tmp_path / "a.tif", SIZE).read()
