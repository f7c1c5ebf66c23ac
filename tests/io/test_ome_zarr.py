"""OME-Zarr: what is written is valid, lies where it should, and appears whole or not at all."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from connectomics.errors import FormatError, GeometryError, InputError, OutputExistsError
from connectomics.io.ome_metadata import Level, multiscale_attributes, ome_block, parse_multiscale
from connectomics.io.ome_zarr import create_array, create_group, open_array
from connectomics.io.opening import open_volume

EVERYWHERE = (slice(None),) * 3


def make(path, name="raw", **changes):
    layout = {
        "shape": (10, 12, 14),
        "dtype": "u1",
        "chunks": (4, 4, 8),
        "voxel_size": (40, 4, 4.4),
        "offset": (100, 3.3, -7),
        **changes,
    }
    return create_array(path, name, **layout)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i8", "f2", "f4", "f8", ">u2", ">f4"])
@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (8, 8, 8))])
@pytest.mark.parametrize("lead", [(), (3,)])
def test_round_trip(tmp_path, dtype, zarr_format, shards, lead):
    shape = (*lead, 10, 12, 14)
    data = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    made = make(tmp_path / "a.zarr", shape=shape, dtype=dtype, shards=shards, zarr_format=zarr_format)
    made.write_box(EVERYWHERE, data)
    for read in (open_volume(tmp_path / "a.zarr/raw", channels=True), open_array(tmp_path / "a.zarr", "raw")):
        assert read.dtype == np.dtype(dtype).newbyteorder("=")
        assert (read.read() == data).all()
        assert read.voxel_size == (40, 4, 4.4) and read.offset == (100, 3.3, -7)
        assert read.chunks == (4, 4, 8) and read.shards == shards
        assert read.channels == (lead[0] if lead else None)


nm = st.floats(0.5, 1000).map(lambda v: round(v, 4))
position = st.floats(-1e6, 1e6).map(lambda v: round(v, 5))


@given(st.tuples(nm, nm, nm), st.tuples(position, position, position), st.sampled_from([2, 3]))
@settings(deadline=None, max_examples=50)
def test_geometry_survives_the_half_voxel(size, offset, zarr_format):
    attributes = multiscale_attributes(
        [Level("0", size, offset)], channels=True, kind="image", name="x", zarr_format=zarr_format
    )
    multiscale = parse_multiscale(json.loads(json.dumps(attributes)), "drawn")
    assert multiscale is not None and multiscale.axes == "czyx"
    found = multiscale.geometry(0)
    assert found is not None and found[0] == pytest.approx(size, rel=1e-11)
    assert found[1] == pytest.approx(offset, abs=1.1e-6)


def test_the_file_places_voxel_centres_in_nanometres(tmp_path):
    make(tmp_path / "a.zarr", voxel_size=(40, 4, 4), offset=(100, 0, -8))
    block = ome_block(dict(zarr.open_group(tmp_path / "a.zarr/raw", mode="r").attrs))
    assert [axis["unit"] for axis in block["multiscales"][0]["axes"]] == ["nanometer"] * 3
    scale, translation = block["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [40, 4, 4]
    assert translation["translation"] == [120, 2, -6]  # low corner + half a voxel


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_others_find_it_valid(tmp_path, zarr_format):
    from ome_zarr_models import v04, v05

    models = v05 if zarr_format == 3 else v04
    make(tmp_path / "a.zarr", "raw", zarr_format=zarr_format)
    for name in ("truth", "segmentation"):
        make(tmp_path / "a.zarr", f"labels/{name}", kind="label", dtype="u8", zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models.Image.from_zarr(zarr.open_group(tmp_path / "a.zarr/raw", mode="r"))
        models.ImageLabel.from_zarr(zarr.open_group(tmp_path / "a.zarr/labels/truth", mode="r"))
        listed = models.Labels.from_zarr(zarr.open_group(tmp_path / "a.zarr/labels", mode="r"))
    assert listed.ome_attributes.labels == ["truth", "segmentation"]


def test_the_root_itself_may_be_the_image_and_hold_labels(tmp_path):
    made = make(tmp_path / "a.zarr", "")
    made.write_box(EVERYWHERE, np.full((10, 12, 14), 7, np.uint8))
    make(tmp_path / "a.zarr", "labels/truth", kind="label", dtype="u8")
    assert open_volume(tmp_path / "a.zarr").read().max() == 7
    assert open_volume(tmp_path / "a.zarr/labels/truth").read().max() == 0


def test_own_attributes_come_back(tmp_path):
    make(tmp_path / "a.zarr", shape=(3, 10, 12, 14), attributes={"offsets": [[-1, 0, 0]]})
    assert open_volume(tmp_path / "a.zarr/raw", channels=True).attributes == {"offsets": [[-1, 0, 0]]}


def test_what_is_there_is_never_touched(tmp_path):
    made = make(tmp_path / "a.zarr")
    made.write_box(EVERYWHERE, np.ones((10, 12, 14), np.uint8))
    with pytest.raises(OutputExistsError, match="exists already"):
        make(tmp_path / "a.zarr")
    assert open_volume(tmp_path / "a.zarr/raw").read().min() == 1
    (tmp_path / "b").mkdir()
    (tmp_path / "b/thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="not a zarr group"):
        create_group(tmp_path / "b")
    create_group(tmp_path / "a.zarr")  # again: nothing happens


def test_a_creation_that_fails_leaves_nothing(tmp_path, monkeypatch):
    import connectomics.io.ome_zarr as ome_zarr

    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(ome_zarr, "create_level", fail)
    with pytest.raises(OSError, match="disk"):
        make(tmp_path / "a.zarr")
    assert [path.name for path in (tmp_path / "a.zarr").iterdir()] == ["zarr.json"]
    monkeypatch.undo()
    (tmp_path / "a.zarr/.raw.partial-123/0").mkdir(parents=True)  # as a killed process leaves it
    make(tmp_path / "a.zarr")
    assert sorted(path.name for path in (tmp_path / "a.zarr").iterdir()) == ["raw", "zarr.json"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shards": (6, 8, 8)}, r"nearest that fit: \(8, 8, 8\)"),
        ({"shards": (8, 8, 8), "zarr_format": 2}, "shards need zarr format 3"),
        ({"shape": (10, 12)}, "shape"),
        ({"shape": (0, 10, 12)}, "shape"),
        ({"zarr_format": 4}, "expected 2"),
        ({"voxel_size": (1, 1)}, "voxel size"),
    ],
)
def test_a_layout_that_makes_no_sense_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        make(tmp_path / "a.zarr", **changes)
    assert not (tmp_path / "a.zarr/raw").exists()


def test_formats_do_not_mix_in_one_root(tmp_path):
    make(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="zarr format 3 group"):
        make(tmp_path / "a.zarr", "other", zarr_format=2)


def test_open_array_says_what_is_missing(tmp_path):
    make(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="no such zarr group"):
        open_array(tmp_path / "a.zarr", "none")
    with pytest.raises(InputError, match="no level 1"):
        open_array(tmp_path / "a.zarr", "raw", 1)
    with pytest.raises(FormatError, match="no multiscale"):
        open_array(tmp_path / "a.zarr", "")


def some_chunk(array: Path) -> Path:
    return next(
        p for p in sorted(array.rglob("*")) if p.is_file() and p.name[0] != "." and p.name != "zarr.json"
    )


@pytest.mark.parametrize(
    ("zarr_format", "shards", "damage"),
    [
        (2, None, "cut"),  # others' readers of format 2 know no checksum, so a flipped bit may pass
        *[(3, shards, damage) for shards in (None, (8, 8, 8)) for damage in ("flipped", "cut")],
    ],
)
def test_a_corrupt_chunk_is_named(tmp_path, zarr_format, shards, damage):
    made = make(tmp_path / "a.zarr", shards=shards, zarr_format=zarr_format)
    made.write_box(EVERYWHERE, np.random.default_rng(0).integers(0, 256, (10, 12, 14)).astype("u1"))
    chunk = some_chunk(tmp_path / "a.zarr/raw/0")
    content = bytearray(chunk.read_bytes())
    content[40] ^= 255
    chunk.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    with pytest.raises(FormatError, match=r"a.zarr/raw: cannot read voxels \[0:10, 0:12, 0:14\]"):
        open_volume(tmp_path / "a.zarr/raw").read()


@pytest.mark.parametrize("kind", ["image", "label"])
def test_metadata_of_each_level_is_its_own(kind):
    levels = [Level("0", (40, 4, 4), (0, 0, 0)), Level("1", (40, 8, 8), (0, 0, 0))]
    attributes = multiscale_attributes(levels, channels=False, kind=kind, name="x", zarr_format=3)
    multiscale = parse_multiscale(attributes, "drawn")
    assert multiscale is not None
    assert multiscale.geometry(1) == ((40, 8, 8), (0, 0, 0))
    assert multiscale.translations == ((20, 2, 2), (20, 4, 4))
    with pytest.raises(GeometryError):
        parse_multiscale(
            {"multiscales": [{**attributes["ome"]["multiscales"][0], "axes": ["c", "y", "x"]}]}, "drawn"
        )
