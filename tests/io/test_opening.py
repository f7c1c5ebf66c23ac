"""Opening volumes of others: formats told by content, axes and units settled, errors in one clear line."""

import shutil

import h5py
import numpy as np
import pytest
import zarr

from connectomics.errors import FormatError, GeometryError, InputError
from connectomics.io.opening import open_volume

SIZE = (40, 4, 4)


def stack(*shape: int, dtype="u1") -> np.ndarray:
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


def ome(path, array, axes, transformations, *, zarr_format=3, units="micrometer"):
    """Write an OME-Zarr the way other tools do: their axes, their units, perhaps no translation."""
    version = "0.4" if zarr_format == 2 else "0.5"
    named = []
    for axis in axes:
        kind = {"t": "time", "c": "channel"}.get(axis, "space")
        unit = {"unit": units} if kind == "space" and units else {}
        named.append({"name": axis, "type": kind, **unit})
    datasets = [{"path": str(i), "coordinateTransformations": t} for i, t in enumerate(transformations)]
    block = {"multiscales": [{"version": version, "axes": named, "datasets": datasets}]}
    attributes = block if zarr_format == 2 else {"ome": {"version": version, **block}}
    group = zarr.create_group(path, zarr_format=zarr_format, attributes=attributes)
    for i in range(len(transformations)):
        step = 2**i
        data = array[..., ::step, ::step, ::step]
        group.create_array(str(i), shape=data.shape, dtype=data.dtype, chunks=data.shape)[...] = data
    return path


def scale(*values):
    return {"type": "scale", "scale": list(values)}


def translation(*values):
    return {"type": "translation", "translation": list(values)}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_ome_zarr_of_five_axes_and_micrometres(tmp_path, zarr_format):
    data = stack(1, 1, 4, 6, 8, dtype="u2")
    levels = [[scale(1, 1, 0.04, 0.004, 0.004)], [scale(1, 1, 0.08, 0.008, 0.008)]]
    path = ome(tmp_path / "a.zarr", data, "tczyx", levels, zarr_format=zarr_format)
    volume = open_volume(path)
    assert volume.voxel_size == (40, 4, 4) and volume.channels is None
    assert volume.offset == (-20, -2, -2)  # their voxel 0 is centred on 0
    assert (volume.read_box((slice(1, 3), slice(2, 5), slice(0, 8))) == data[0, 0, 1:3, 2:5]).all()
    coarse = open_volume(path, level=1)
    assert coarse.voxel_size == (80, 8, 8) and coarse.shape == (2, 3, 4)
    assert open_volume(f"{path}/1").voxel_size == (80, 8, 8)
    assert open_volume(path, channels=True).channels == 1


def test_time_points_and_channels_are_refused_unless_asked_for(tmp_path):
    moving = ome(tmp_path / "t.zarr", stack(2, 1, 4, 6, 8), "tczyx", [[scale(1, 1, 1, 1, 1)]])
    with pytest.raises(GeometryError, match="2 time points"):
        open_volume(moving)
    coloured = ome(tmp_path / "c.zarr", stack(1, 2, 4, 6, 8), "tczyx", [[scale(1, 1, 1, 1, 1)]])
    with pytest.raises(GeometryError, match="2 channels"):
        open_volume(coloured)
    data = open_volume(coloured, channels=True).read()
    assert (data == stack(2, 4, 6, 8)).all()


def test_transformations_fold_in_order(tmp_path):
    path = ome(tmp_path / "a.zarr", stack(4, 6, 8), "zyx", [[scale(2, 1, 1), translation(10, 0, 0)]])
    group = zarr.open_group(path, mode="r+")
    block = dict(group.attrs["ome"])
    block["multiscales"][0]["coordinateTransformations"] = [scale(3, 1, 1)]
    group.attrs["ome"] = block
    volume = open_volume(path)
    assert volume.voxel_size == (6000, 1000, 1000)
    assert volume.offset == (30000 - 3000, -500, -500)


@pytest.mark.parametrize(
    ("unit", "nm"),
    [("angstrom", 0.1), ("nanometer", 1), ("micrometer", 1e3), ("millimeter", 1e6), ("meter", 1e9)],
)
def test_units_become_nanometres(tmp_path, unit, nm):
    path = ome(tmp_path / "a.zarr", stack(4, 6, 8), "zyx", [[scale(4, 2, 2)]], units=unit)
    assert open_volume(path).voxel_size == pytest.approx((4 * nm, 2 * nm, 2 * nm))


def test_a_missing_unit_needs_a_voxel_size(tmp_path):
    levels = [[scale(10, 1, 1), translation(20, 0.5, 0.5)], [scale(20, 2, 2)]]
    path = ome(tmp_path / "a.zarr", stack(4, 6, 8), "zyx", levels, units=None)
    with pytest.raises(GeometryError, match="--voxel-size Z Y X"):
        open_volume(path)
    volume = open_volume(path, SIZE)
    assert volume.voxel_size == SIZE
    assert volume.offset == (60, 0, 0)  # 20 of their units = 2 voxels = 80 nm, less half a voxel
    assert open_volume(path, SIZE, level=1).voxel_size == (80, 8, 8)
    strange = ome(tmp_path / "b.zarr", stack(4, 6, 8), "zyx", levels, units="parsec")
    with pytest.raises(GeometryError, match=r"parsec.*--voxel-size"):
        open_volume(strange)
    assert open_volume(strange, SIZE, level=1).voxel_size == (80, 8, 8)
    assert open_volume(strange, SIZE).offset == (60, 0, 0)


def test_a_stated_voxel_size_wins(tmp_path):
    path = ome(tmp_path / "a.zarr", stack(4, 6, 8), "zyx", [[scale(1, 1, 1)]], units="nanometer")
    assert open_volume(path, SIZE).voxel_size == (1, 1, 1)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_zarr_array_needs_a_voxel_size(tmp_path, zarr_format):
    array = zarr.create_array(
        tmp_path / "a", shape=(4, 6, 8), dtype="f4", chunks=(2, 6, 8), zarr_format=zarr_format
    )
    array[...] = stack(4, 6, 8)
    with pytest.raises(GeometryError, match="--voxel-size"):
        open_volume(tmp_path / "a")
    volume = open_volume(tmp_path / "a", SIZE)
    assert volume.chunks == (2, 6, 8) and volume.offset == (0, 0, 0)
    assert (volume.read() == stack(4, 6, 8)).all()
    with pytest.raises(InputError, match="no data set 'inside'"):
        open_volume(tmp_path / "a/inside", SIZE)
    with pytest.raises(InputError, match="level 1"):
        open_volume(tmp_path / "a", SIZE, level=1)


def plain(path, zarr_format, names, shape):
    xarray = {"attributes": {"_ARRAY_DIMENSIONS": names}}
    named = {"dimension_names": names} if zarr_format == 3 else xarray
    array = zarr.create_array(
        path, shape=shape, dtype="u1", chunks=(2, *shape[1:]), zarr_format=zarr_format, **named
    )
    array[...] = stack(*shape)
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["x", "y", "z"], (2, 1, 0)),
        (["Y", "X", "Z"], (2, 0, 1)),
        (["z", "y", "x"], (0, 1, 2)),
        (["dim_0", "dim_1", "dim_2"], (0, 1, 2)),
        (["u", "y", "x"], (0, 1, 2)),
    ],
)
def test_a_plain_zarr_array_may_name_its_axes(tmp_path, zarr_format, names, order):
    volume = open_volume(plain(tmp_path / "a", zarr_format, names, (4, 6, 8)), SIZE)
    assert (volume.read() == stack(4, 6, 8).transpose(order)).all()
    assert volume.chunks == tuple((2, 6, 8)[i] for i in order) and volume.voxel_size == SIZE


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_named_axes_beside_the_three_of_space(tmp_path, zarr_format):
    path = plain(tmp_path / "a", zarr_format, ["x", "y", "z", "channel"], (4, 6, 8, 2))
    last = open_volume(path, SIZE, channels=True)
    assert (last.read() == stack(4, 6, 8, 2).transpose(3, 2, 1, 0)).all()
    with pytest.raises(GeometryError, match=r"axes 'xyz\?'"):
        open_volume(plain(tmp_path / "b", zarr_format, ["x", "y", "z", "pol"], (4, 6, 8, 2)), SIZE)
    with pytest.raises(GeometryError, match="2-D data"):
        open_volume(plain(tmp_path / "c", zarr_format, ["time", "y", "x"], (4, 6, 8)), SIZE)


def test_a_missing_data_set_names_those_there_are(tmp_path):
    for name in ("raw", "em"):
        ome(tmp_path / "out.zarr" / name, stack(4, 6, 8), "zyx", [[scale(1, 1, 1)]])
    zarr.create_group(tmp_path / "out.zarr")
    (tmp_path / "out.zarr/ledger").mkdir()
    (tmp_path / "out.zarr/ledger/0.json").write_text("{}")
    with pytest.raises(InputError, match=r"no data set 'labels/x'.*em \(4, 6, 8\), raw \(4, 6, 8\)"):
        open_volume(tmp_path / "out.zarr/labels/x")
    with pytest.raises(InputError, match=r"name one.*em .*raw"):
        open_volume(tmp_path / "out.zarr")
    shutil.rmtree(tmp_path / "out.zarr/em")
    assert open_volume(tmp_path / "out.zarr").shape == (4, 6, 8)  # one alone need not be named
    with pytest.raises(InputError, match="no level 2"):
        open_volume(tmp_path / "out.zarr", level=2)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_damaged_zarr_metadata(tmp_path, text):
    path = ome(tmp_path / "a.zarr", stack(4, 6, 8), "zyx", [[scale(1, 1, 1)]])
    (path / "zarr.json").write_text(text)
    with pytest.raises(FormatError, match="metadata cannot be read"):
        open_volume(path)


def test_a_listed_level_that_is_gone(tmp_path):
    path = ome(tmp_path / "a.zarr", stack(4, 6, 8), "zyx", [[scale(1, 1, 1)]])
    shutil.rmtree(path / "0")
    with pytest.raises(FormatError, match="level 0"):
        open_volume(path)


@pytest.mark.parametrize(
    "bad",
    [[scale(1, 1)], [scale(0, 1, 1)], [scale(float("nan"), 1, 1)], [{"type": "affine"}], [{"kind": "scale"}]],
)
def test_transformations_that_make_no_sense(tmp_path, bad):
    path = ome(tmp_path / "a.zarr", stack(4, 6, 8), "zyx", [bad])
    with pytest.raises(FormatError, match="metadata cannot be read"):
        open_volume(path)


def test_paths_that_are_no_volume(tmp_path):
    with pytest.raises(InputError, match="no such path"):
        open_volume(tmp_path / "none.h5/raw")
    (tmp_path / "notes.h5").write_text("no HDF5 at all")
    with pytest.raises(FormatError, match="not a volume"):
        open_volume(tmp_path / "notes.h5")
    with pytest.raises(InputError, match="no data sets"):
        open_volume(tmp_path / "notes.h5/raw")
    (tmp_path / "empty").touch()
    with pytest.raises(FormatError, match="not a volume"):
        open_volume(tmp_path / "empty")
    with pytest.raises(FormatError, match="a folder with no"):
        open_volume(tmp_path)


@pytest.mark.parametrize(
    ("shape", "message"), [((6, 8), "2-D"), ((2, 4, 6, 8), "2 channels"), ((2, 1, 4, 6, 8), "2 time points")]
)
def test_dimensions_that_do_not_fit(tmp_path, shape, message):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = np.zeros(shape)
    with pytest.raises(GeometryError, match=message):
        open_volume(tmp_path / "a.h5/raw", SIZE)


@pytest.mark.parametrize("dtype", ["c8", "S3"])
def test_data_that_are_no_numbers(tmp_path, dtype):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = np.zeros((4, 4, 4), dtype)
    with pytest.raises(InputError, match="numbers"):
        open_volume(tmp_path / "a.h5/raw", SIZE)


@pytest.mark.parametrize("size", [(0, 1, 1), (1, 1), (1, float("nan"), 1)])
def test_a_voxel_size_that_makes_no_sense(tmp_path, size):
    with pytest.raises(GeometryError, match="voxel-size"):
        open_volume(tmp_path, size)


def test_one_damaged_member_does_not_hide_the_others(tmp_path, caplog):
    zarr.create_group(tmp_path / "a.zarr")
    for name in ("good", "bad"):
        ome(tmp_path / "a.zarr" / name, stack(3, 4, 5), "zyx", [[scale(1, 1, 1)]])
    shutil.rmtree(tmp_path / "a.zarr/bad/0")
    assert open_volume(tmp_path / "a.zarr").name.endswith("good")
    assert "bad: damaged, not listed" in caplog.text
