"""Everything that can be wrong with an input, in files made once."""

import json
import shutil

import h5py
import numpy as np
import pytest
import tifffile

from tests.conftest import VOXEL_SIZE, save_toy


@pytest.fixture(scope="session")
def bad(tmp_path_factory, cells):
    """Folder of volumes: ``a.h5`` holds good and bad data sets, the other files are damaged or no volumes."""
    folder = tmp_path_factory.mktemp("bad")
    small = cells[:32, :40, :48]
    holes = small.astype(np.float32)
    holes[5, 6, 7] = np.nan
    placed = {
        "raw": small,
        "labels": (small > 110).astype(np.uint64),
        "constant": np.full_like(small, 7),
        "nan": holes,
        "flat": small[0],
        "four": np.stack([small, small]),
        "text": np.full((4, 4, 4), b"text"),
    }
    with h5py.File(folder / "a.h5", "w") as file:
        for name, array in placed.items():
            data = file.create_dataset(name, data=array)
            data.attrs["resolution"] = VOXEL_SIZE
        file.create_dataset("bare", data=small)
        file.create_dataset("coarse", data=small).attrs["resolution"] = [2.5 * v for v in VOXEL_SIZE]
    whole = (folder / "a.h5").read_bytes()
    (folder / "truncated.h5").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.h5").write_bytes(b"")
    (folder / "notes.txt").write_text("no volume")
    (folder / "one.swc").write_text("1 0 50 50 50 1 -1\n2 0 50 50 250 1 1\n")
    tifffile.imwrite(folder / "flat.tif", small[0])
    (folder / "broken.zarr").mkdir()
    (folder / "broken.zarr" / "zarr.json").write_text("{")
    (folder / "foreign").mkdir()
    (folder / "foreign" / "thesis.tex").write_text("years of work")
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A tiny model that learned nothing: no command here gets as far as to need what it predicts."""
    return save_toy(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="session")
def bad_models(tmp_path_factory, model):
    """Folder of model folders, each damaged in a way of its own."""
    folder = tmp_path_factory.mktemp("bad_models")
    for name in ("other_network", "truncated", "no_weights", "no_json", "unknown_key"):
        shutil.copytree(model, folder / name)
    contract = json.loads((model / "contract.json").read_text())
    wider = contract | {"network": {"name": "BasicUNet", "parameters": {"features": [8, 4, 8, 8, 8, 4]}}}
    (folder / "other_network" / "contract.json").write_text(json.dumps(wider))
    (folder / "unknown_key" / "contract.json").write_text(json.dumps(contract | {"voxelsize": 3}))
    (folder / "no_json" / "contract.json").write_text("{")
    (folder / "no_weights" / "weights.safetensors").unlink()
    weights = folder / "truncated" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    return folder
