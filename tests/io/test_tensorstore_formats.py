"""N5 and precomputed volumes, written by tensorstore or as others write them."""

import json
import pickle

import numpy as np
import pytest
import tensorstore as ts

from connectomics.errors import FormatError, GeometryError, InputError
from connectomics.io.opening import open_volume

DATA = np.random.default_rng(0).integers(0, 60000, (6, 20, 30)).astype("u2")  # zyx
SIZE = (40, 4, 4)


def write_n5(folder, data=DATA, **attributes):
    metadata = {"dimensions": data.shape[::-1], "blockSize": [16, 16, 4], "dataType": "uint16"}
    metadata["compression"] = {"type": "gzip"}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/"}, "metadata": metadata}
    ts.open(spec, create=True).result().write(data.transpose()).result()
    written = json.loads((folder / "attributes.json").read_text())
    (folder / "attributes.json").write_text(json.dumps({**written, **attributes}))
    return folder


def test_n5_is_turned_to_zyx(tmp_path):
    write_n5(tmp_path / "a.n5/volumes/raw", pixelResolution={"dimensions": [4, 4, 40], "unit": "nm"})
    (tmp_path / "a.n5/attributes.json").write_text('{"n5": "2.0.0"}')
    for name in ("a.n5/volumes/raw", "a.n5"):
        volume = open_volume(tmp_path / name)
        assert volume.shape == (6, 20, 30) and volume.voxel_size == SIZE and volume.chunks == (4, 16, 16)
        assert (volume.read() == DATA).all()
    assert (volume.read_box((slice(1, 3), slice(4, 9), slice(5, 6))) == DATA[1:3, 4:9, 5:6]).all()
    assert (pickle.loads(pickle.dumps(volume)).read() == DATA).all()


@pytest.mark.parametrize(
    ("attributes", "offset"),
    [
        ({"resolution": [0.004, 0.004, 0.04], "units": ["um", "um", "um"]}, (0, 0, 0)),
        ({"transform": {"scale": [40, 4, 4], "translate": [20, 2, 10], "units": ["nm"] * 3}}, (0, 0, 8)),
    ],
)
def test_n5_voxel_sizes(tmp_path, attributes, offset):
    volume = open_volume(write_n5(tmp_path / "a", **attributes))
    assert volume.voxel_size == pytest.approx(SIZE) and volume.offset == pytest.approx(offset)


def test_n5_without_a_unit_and_with_what_is_missing(tmp_path):
    write_n5(tmp_path / "a.n5/one", resolution=[4, 4, 40])
    write_n5(tmp_path / "a.n5/two")
    (tmp_path / "a.n5/attributes.json").write_text("{}")
    with pytest.raises(GeometryError, match="--voxel-size"):
        open_volume(tmp_path / "a.n5/one")
    with pytest.raises(InputError, match=r"no data set 'three'.*one \(6, 20, 30\), two"):
        open_volume(tmp_path / "a.n5/three", SIZE)
    with pytest.raises(InputError, match="name one"):
        open_volume(tmp_path / "a.n5", SIZE)
    with pytest.raises(InputError, match="level 1"):
        open_volume(tmp_path / "a.n5/one", SIZE, level=1)


@pytest.mark.parametrize(
    "attributes",
    [
        {"pixelResolution": {"dimensions": ["a", 4, 40], "unit": "nm"}},
        {"pixelResolution": {"dimensions": {"x": 4, "y": 4, "z": 40}, "unit": "nm"}},
        {"transform": {"scale": [40, 4, 4], "units": ["nm", "nm"]}},
        {"transform": {"units": ["nm"] * 3}},
        {"transform": {"scale": 4, "units": ["nm"] * 3}},
    ],
)
def test_n5_sizes_that_make_no_sense(tmp_path, attributes):
    path = write_n5(tmp_path / "a", **attributes)
    with pytest.raises(FormatError, match=f"^{path}: the voxel size in its attributes.json"):
        open_volume(path)


def test_n5_of_an_unknown_unit_takes_a_voxel_size(tmp_path):
    path = write_n5(tmp_path / "a", transform={"scale": [40, 4, 4], "units": ["furlong"] * 3})
    with pytest.raises(GeometryError, match="--voxel-size"):
        open_volume(path)
    assert open_volume(path, SIZE).voxel_size == SIZE


def test_n5_levels(tmp_path):
    write_n5(tmp_path / "a/s0")
    write_n5(tmp_path / "a/s1", DATA[::2, ::2, ::2], downsamplingFactors=[2, 2, 2])
    stated = {"pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"}}
    (tmp_path / "a/attributes.json").write_text(json.dumps(stated))
    assert open_volume(tmp_path / "a").shape == (6, 20, 30)
    coarse = open_volume(tmp_path / "a", level=1)
    assert coarse.voxel_size == (80, 8, 8) and (coarse.read() == DATA[::2, ::2, ::2]).all()
    with pytest.raises(InputError, match="no level 2; it has 2"):
        open_volume(tmp_path / "a", level=2)


def test_n5_levels_that_repeat_the_finest_resolution(tmp_path):
    """As n5-viewer writes them."""
    stated = {"pixelResolution": {"unit": "nm", "dimensions": [4, 4, 40]}}
    write_n5(tmp_path / "a/s0", **stated)
    write_n5(tmp_path / "a/s1", DATA[::2, ::2, ::2], **stated, downsamplingFactors=[2, 2, 1])
    (tmp_path / "a/attributes.json").write_text("{}")
    assert open_volume(tmp_path / "a", level=1).voxel_size == (40.0, 8.0, 8.0)
    assert open_volume(tmp_path / "a/s1").voxel_size == (40.0, 8.0, 8.0)


def test_n5_transform_of_axes_in_another_order(tmp_path):
    transform = {"axes": ["x", "y", "z"], "units": ["nm"] * 3, "scale": [8, 4, 40], "translate": [4, 2, 60]}
    volume = open_volume(write_n5(tmp_path / "a", transform=transform))
    assert (volume.voxel_size, volume.offset) == ((40.0, 4.0, 8.0), (40.0, 0.0, 0.0))


def write_precomputed(folder, data=DATA, **changes):
    scale = {"size": data.shape[-3:][::-1], "resolution": [4, 4, 40], "voxel_offset": [10, 20, -3]}
    scale |= {"encoding": "raw", "chunk_size": [16, 16, 4], **changes}
    channels = data.shape[0] if data.ndim == 4 else 1
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {"type": "image", "data_type": "uint16", "num_channels": channels},
        "scale_metadata": scale,
    }
    store = ts.open(spec, create=True).result()
    store.write(np.moveaxis(data.reshape(channels, *data.shape[-3:]), 0, -1).transpose(2, 1, 0, 3)).result()
    return folder


def test_precomputed_is_turned_to_zyx_and_placed(tmp_path):
    volume = open_volume(write_precomputed(tmp_path / "a"))
    assert volume.voxel_size == SIZE and volume.offset == (-120, 80, 40) and volume.channels is None
    assert volume.chunks == (4, 16, 16)
    assert (volume.read() == DATA).all()
    assert (pickle.loads(pickle.dumps(volume)).read_box((slice(1, 3),) * 3) == DATA[1:3, 1:3, 1:3]).all()


def test_precomputed_channels_and_levels(tmp_path):
    two = np.stack([DATA, DATA + 1])
    path = write_precomputed(tmp_path / "a", two)
    with pytest.raises(GeometryError, match="2 channels"):
        open_volume(path)
    assert (open_volume(path, channels=True).read() == two).all()
    write_precomputed(tmp_path / "a", two[..., ::2, ::2], resolution=[8, 8, 40], voxel_offset=[5, 10, -3])
    coarse = open_volume(path, channels=True, level=1)
    assert coarse.voxel_size == (40, 8, 8) and coarse.offset == (-120, 80, 40)
    with pytest.raises(InputError, match="no level 2"):
        open_volume(path, level=2)


def test_precomputed_damage(tmp_path):
    path = write_precomputed(tmp_path / "a")
    chunk = next(p for p in path.rglob("*") if p.is_file() and p.name != "info")
    chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(FormatError, match="cannot read voxels"):
        open_volume(path).read()
    info = json.loads((path / "info").read_text())
    info["scales"][0]["encoding"] = "unheard-of"
    (path / "info").write_text(json.dumps(info))
    with pytest.raises(FormatError, match=r'cannot be opened.*received: "unheard-of"\)\. Copy') as told:
        open_volume(path)
    assert "tensorstore_spec" not in str(told.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("resolution", None), ("resolution", [4, 4]), ("resolution", ["a", 4, 4]), ("voxel_offset", 3)],
)
def test_precomputed_that_does_not_say_where_it_lies(tmp_path, key, value):
    path = write_precomputed(tmp_path / "a")
    info = json.loads((path / "info").read_text())
    info["scales"][0][key] = value
    if value is None:
        del info["scales"][0][key]
    (path / "info").write_text(json.dumps(info))
    with pytest.raises(FormatError, match=f"^{path}: its info should state '{key}'") as told:
        open_volume(path)
    assert len(str(told.value)) < len(str(path)) + 150
    (path / "info").write_text(json.dumps(info | {"scales": 3}))
    with pytest.raises(FormatError, match="no list of scales"):
        open_volume(path)


def test_a_named_level_has_the_size_that_its_group_states(tmp_path):
    write_n5(tmp_path / "a.n5/s0")
    write_n5(tmp_path / "a.n5/s1", downsamplingFactors=[2, 2, 1])
    group = {"pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"}}
    (tmp_path / "a.n5/attributes.json").write_text(json.dumps(group))
    assert open_volume(tmp_path / "a.n5/s0").voxel_size == (40, 4, 4)
    assert open_volume(tmp_path / "a.n5/s1").voxel_size == (40, 8, 8)


def test_n5_of_which_one_member_is_damaged(tmp_path):
    write_n5(tmp_path / "a.n5/one")
    (tmp_path / "a.n5/two").mkdir()
    (tmp_path / "a.n5/two/attributes.json").write_text('{"dimensions": 5}')
    (tmp_path / "a.n5/attributes.json").write_text("{}")
    with pytest.raises(InputError, match=r"no data set 'three'.*one \(6, 20, 30\)"):
        open_volume(tmp_path / "a.n5/three", SIZE)
