"""Converting any volume: the same voxels in the same place, or nothing at all."""

import h5py
import numpy as np
import pytest

from connectomics.errors import FormatError, OutputExistsError, SettingsError
from connectomics.io.convert import convert
from connectomics.io.describe import describe
from connectomics.io.ome_zarr import create_array
from connectomics.io.opening import open_volume
from connectomics.io.settings import ConvertSettings
from connectomics.io.volume import Volume

DATA = np.random.default_rng(0).integers(0, 200, (30, 50, 70)).astype("u2")


def drawn(array=DATA, **changes) -> Volume:
    return Volume(array=array, voxel_size=(40, 4, 4.5), offset=(120, 3, -9), name="drawn", **changes)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": "raw", "chunk": 16, "levels": 3},
        {"name": "labels/truth", "chunk": 16, "shard": 32},
        {"zarr_format": 2, "chunk": 7, "levels": 1},
    ],
)
def test_voxels_and_place_are_kept(tmp_path, options):
    steps = []
    settings = ConvertSettings.parse(options)
    made = convert(drawn(), tmp_path / "a.zarr", settings, lambda *step: steps.append(step))
    found = open_volume(tmp_path / "a.zarr" / settings.name)
    for volume in (made, found):
        assert (volume.read() == DATA).all() and volume.dtype == np.dtype("u2")
        assert volume.voxel_size == (40, 4, 4.5) and volume.offset == (120, 3, -9)
    assert steps and steps[-1][0] == steps[-1][1]
    facts = describe(tmp_path / "a.zarr" / settings.name)
    assert len(facts["levels"]) == (settings.levels or len(facts["levels"]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr"]


def test_channels_and_attributes_are_kept(tmp_path):
    four = np.stack([DATA, DATA + 1])
    convert(drawn(four, attributes={"offsets": [[-1, 0, 0]]}), tmp_path / "a.zarr")
    found = open_volume(tmp_path / "a.zarr", channels=True)
    assert (found.read() == four).all() and found.attributes == {"offsets": [[-1, 0, 0]]}


def test_two_names_in_one_group_and_none_twice(tmp_path):
    for name in ("raw", "labels/truth"):
        convert(drawn(), tmp_path / "a.zarr", ConvertSettings(name=name))
        with pytest.raises(OutputExistsError):
            convert(drawn(), tmp_path / "a.zarr", ConvertSettings(name=name))
    assert open_volume(tmp_path / "a.zarr/raw").read().sum() == DATA.sum()


def test_a_corrupt_input_leaves_nothing(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("raw", data=DATA, chunks=(30, 50, 70), compression="gzip")
        place = made.id.get_chunk_info(0).byte_offset
    with (tmp_path / "a.h5").open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\xff" * 100)
    with pytest.raises(FormatError, match="cannot read voxels"):
        convert(open_volume(tmp_path / "a.h5/raw", (1, 1, 1)), tmp_path / "out.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_settings_are_checked():
    for wrong in ({"chunk": 0}, {"levels": 0}, {"zarr_format": 4}, {"chunks": 64}):
        with pytest.raises(SettingsError):
            ConvertSettings.parse(wrong)


def test_describe_says_what_the_file_says(tmp_path):
    convert(drawn(), tmp_path / "a.zarr", ConvertSettings(chunk=16, shard=32, levels=2))
    facts = describe(tmp_path / "a.zarr")
    assert facts["format"] == "OME-Zarr 0.5" and facts["axes"] == "zyx" and facts["dtype"] == "uint16"
    assert facts["chunks"] == [16] * 3 and facts["shards"] == [32] * 3
    assert facts["voxel_size"] == [40, 4, 4.5] and facts["offset"] == [120, 3, -9]
    assert facts["levels"][1] == {"shape": [30, 25, 35], "voxel_size": [40, 8, 9]}
    assert "voxel centres" in facts["placement"]


def test_describe_needs_no_voxel_size(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = DATA
    facts = describe(tmp_path / "a.h5/raw")
    assert facts["voxel_size"] is None and facts["offset"] is None and facts["shape"] == [30, 50, 70]
    assert describe(tmp_path / "a.h5/raw", (40, 4, 4))["voxel_size"] == [40, 4, 4]
    create_array(
        tmp_path / "b.zarr",
        "p",
        shape=(3, 4, 4, 4),
        dtype="u1",
        chunks=(4,) * 3,
        voxel_size=(1,) * 3,
        offset=(0,) * 3,
    )
    assert describe(tmp_path / "b.zarr/p")["axes"] == "czyx"
