"""A model that remembers one kind of image, volumes of that kind and of another, and annotated crops."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from scipy import ndimage

from connectomics.affinities import NEAREST
from connectomics.cli.main import run
from connectomics.networks.build import build_network
from connectomics.networks.checkpoint import save_model
from connectomics.networks.contract import Contract, Head, NetworkSettings, Normalisation
from connectomics.networks.models import find_model
from connectomics.training.source_features import store_features
from connectomics.training.sources import make_source
from tests.conftest import VOXEL_SIZE

SHAPE = (48, 64, 64)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw_cells(seed):
    """Image and objects (1..n, without gaps): bright cells around random seeds, dark borders, noise."""
    random = np.random.default_rng(seed)
    seeds = np.zeros(SHAPE, bool)
    seeds[tuple(random.integers(0, n, 150) for n in SHAPE)] = True
    nearest = ndimage.distance_transform_edt(~seeds, return_distances=False, return_indices=True)
    owner = np.ravel_multi_index(nearest, SHAPE)
    border = ndimage.grey_erosion(owner, size=3) != ndimage.grey_dilation(owner, size=3)
    image = np.where(border, 60, 180) + random.normal(0, 15, SHAPE)
    labels = np.unique(owner, return_inverse=True)[1].reshape(SHAPE) + 1
    return np.clip(image, 0, 255).astype(np.uint8), labels.astype(np.uint32)


def draw_clouds(seed):
    """An image of another kind: smooth clouds, the longer along z."""
    random = np.random.default_rng(seed)
    clouds = ndimage.gaussian_filter(random.normal(size=SHAPE), (5, 2, 2), mode="wrap")
    return np.clip(120 + 30 * clouds / clouds.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def cells():
    """(48, 64, 64) uint8."""
    return draw_cells(0)[0]


@pytest.fixture(scope="session")
def labels():
    """Objects of `cells`."""
    return draw_cells(0)[1]


def save_small(folder, image=None):
    """A small U-Net, fitted for a second to call bright voxels of an image connected."""
    torch.manual_seed(0)
    contract = Contract(
        name="toy",
        network=NetworkSettings(name="DynUNet", parameters={"filters": [4, 8, 8], "res_block": False}),
        heads=(Head(kind="affinities", offsets=NEAREST),),
        voxel_size=VOXEL_SIZE,
        modality="em",
        normalisation=Normalisation(kind="sampled", mean=140.0, std=50.0),
        margin=(4, 4, 4),
        divisor=(4, 4, 4),
    )
    network = build_network(contract.network, 1, 3)
    if image is not None:
        grey = torch.from_numpy(image[:32, :32, :32].astype(np.float32))[None, None]
        target = (grey > 120).float().expand(1, 3, -1, -1, -1)
        optimiser = torch.optim.Adam(network.parameters(), 0.02)
        for _ in range(30):
            optimiser.zero_grad()
            logits = network((grey - 140) / 50)
            torch.nn.functional.binary_cross_entropy_with_logits(logits, target).backward()
            optimiser.step()
    return save_model(folder, network, contract)


@pytest.fixture(scope="session")
def models(tmp_path_factory, cells):
    """Folders of two models of the same weights: one was fitted to such cells, the other to clouds."""
    folder = tmp_path_factory.mktemp("ranked")
    save_small(folder / "cells", cells)
    shutil.copytree(folder / "cells", folder / "clouds")
    kinds = {
        "cells": [draw_cells(seed)[0] for seed in (1, 2, 3)],
        "clouds": [draw_clouds(seed) for seed in (1, 2, 3)],
    }
    for name, images in kinds.items():
        sources = [make_source(image, None, True) for image in images]
        store_features(find_model(folder / name), sources, 256)
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory, cells):
    """images.h5: cells and clouds that no model has seen, and cells that are blank in x >= 32."""
    path = tmp_path_factory.mktemp("images") / "images.h5"
    half = cells.copy()
    half[:, :, 32:] = 128
    with h5py.File(path, "w") as file:
        for name, image in {"cells": cells, "clouds": draw_clouds(0), "half": half}.items():
            file.create_dataset(name, data=image).attrs["resolution"] = VOXEL_SIZE
    return path


@pytest.fixture
def annotate(images, models, tmp_path):
    """Runs `adapt select` on the cells; returns the folder."""

    def select(*more, name="todo", count=3):
        folder = tmp_path / name
        line = ["adapt", "select", f"{images}/cells", str(folder), "--model", str(models / "cells")]
        line += ["-n", str(count), "--crop", "16", "16", "16", "--engine", "torch", "--candidates", "12"]
        assert run([*line, "--quiet", *more]) == 0
        return folder

    return select
