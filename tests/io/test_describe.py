"""What `info` says of a volume."""

import h5py
import numpy as np

from connectomics.io.describe import describe
from connectomics.io.ome_zarr import create_array
from connectomics.io.pyramid import build_pyramid

DATA = np.random.default_rng(0).integers(0, 200, (30, 50, 70)).astype("u2")


def test_describe_says_what_the_file_says(tmp_path):
    create_array(
        tmp_path / "a.zarr",
        "",
        shape=DATA.shape,
        dtype=DATA.dtype,
        chunks=(16,) * 3,
        shards=(32,) * 3,
        voxel_size=(40, 4, 4.5),
        offset=(120, 3, -9),
    )
    build_pyramid(tmp_path / "a.zarr", "", 2)
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
