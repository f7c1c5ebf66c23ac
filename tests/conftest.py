"""A small volume and an untrained toy model: quick, deterministic, and good enough to test the plumbing."""

import logging
import os
import signal
import urllib.request
import uuid
from pathlib import Path

import h5py
import hypothesis
import numpy as np
import pytest
from rich.logging import RichHandler

from connectomics.affinities import NEAREST

hypothesis.settings.register_profile("untimed", deadline=None)  # a loaded machine is no failure
hypothesis.settings.load_profile("untimed")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as of a job in the background; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

VOXEL_SIZE = (20.0, 10.0, 10.0)
SHARED = Path(__file__).parents[2] / "shared"
"""Real volumes and official figures, beside the checkout."""


@pytest.fixture(autouse=True)
def logging_afresh():
    """A command sets logging up for itself; the next test's warnings must not depend on its --quiet."""
    yield
    logging.getLogger("connectomics").setLevel(logging.NOTSET)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, RichHandler)]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def shared():
    """The folder of real volumes and official figures; tests that need it are skipped where there is none."""
    if not SHARED.is_dir() and not os.environ.get("CI"):
        pytest.skip("no folder 'shared' beside the checkout: real volumes and official figures are not here")
    return SHARED


@pytest.fixture(scope="session")
def s3_address():
    """Host and port of an S3-compatible server on this machine, empty at first."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def bucket(s3_address, monkeypatch):
    """URL of a new bucket on the server, which the environment names with made-up credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    endpoint = "http://{}:{}".format(*s3_address)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    name = f"bucket-{uuid.uuid4()}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
    return f"s3://{name}"


@pytest.fixture(scope="session")
def cells():
    """(64, 96, 80) uint8: bright blobs with dark borders, a stand-in for neurites."""
    from scipy import ndimage

    generator = np.random.default_rng(0)
    seeds = np.zeros((64, 96, 80), bool)
    seeds[tuple(generator.integers(0, n, 60) for n in seeds.shape)] = True
    distance = ndimage.distance_transform_edt(~seeds)
    nearest = ndimage.distance_transform_edt(~seeds, return_distances=False, return_indices=True)
    owner = np.ravel_multi_index(nearest, seeds.shape)
    border = ndimage.grey_erosion(owner, size=3) != ndimage.grey_dilation(owner, size=3)
    image = np.where(border, 40, 200) - distance + generator.normal(0, 8, seeds.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def volume(cells, tmp_path_factory):
    """The cells in an HDF5 file, with voxel size and offset."""
    path = tmp_path_factory.mktemp("volume") / "cells.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("volumes/raw", data=cells, chunks=(32, 32, 32))
        data.attrs["resolution"] = VOXEL_SIZE
        data.attrs["offset"] = (200.0, 0.0, 50.0)
    return f"{path}/volumes/raw"


@pytest.fixture(scope="session")
def model(tmp_path_factory, cells):
    """A tiny BasicUNet fitted for a second to call bright voxels connected."""
    return save_toy(
        tmp_path_factory.mktemp("models") / "toy", lambda network: fit_to_brightness(network, cells)
    )


def save_toy(folder, fit=lambda network: None):
    """Save a tiny BasicUNet that predicts the nearest affinities, once `fit` has changed its weights."""
    import torch

    from connectomics.networks.build import build_network
    from connectomics.networks.checkpoint import save_model
    from connectomics.networks.contract import Contract, Head, NetworkSettings, Normalisation

    torch.manual_seed(0)
    contract = Contract(
        name="toy",
        network=NetworkSettings(name="BasicUNet", parameters={"features": [4, 4, 8, 8, 8, 4]}),
        heads=(Head(kind="affinities", offsets=NEAREST),),
        voxel_size=VOXEL_SIZE,
        modality="em",
        normalisation=Normalisation(mean=120.0, std=60.0),
        margin=(8, 8, 8),
        divisor=(16, 16, 16),
    )
    network = build_network(contract.network, 1, 3)
    fit(network)
    return save_model(folder, network, contract)


TRANSLATED = {"upsample": (1, 2, 2), "mean": 120.0, "std": 40.0, "intervals": {"0.5": 0.7, "0.9": 1.7}}
"""What a toy translator makes of a volume, and how."""


def save_translator(folder, *, members=1, dropout=0.0, dtype="uint8"):
    """Save an untrained translator, whose output is finer in the plane."""
    import torch

    from connectomics.networks.build import build_network, divisor_of
    from connectomics.networks.checkpoint import save_model
    from connectomics.networks.contract import (
        Contract,
        Head,
        NetworkSettings,
        Normalisation,
        UncertaintyScales,
    )

    network = NetworkSettings(
        name="DynUNet",
        parameters={"filters": [4, 8, 8], "res_block": False, "fine_features": 2},
        upsample=TRANSLATED["upsample"],
        dropout=dropout,
    )
    contract = Contract(
        name="translator",
        network=network,
        heads=(Head(kind="intensity"), Head(kind="log_variance")),
        voxel_size=VOXEL_SIZE,
        modality="xray",
        normalisation=Normalisation(mean=120.0, std=60.0),
        output_normalisation=Normalisation(mean=TRANSLATED["mean"], std=TRANSLATED["std"]),
        output_dtype=dtype,
        members=members,
        margin=(8, 8, 8),
        divisor=divisor_of(network),
        uncertainty=UncertaintyScales(
            aleatoric=1.2, epistemic=1.5, intervals=TRANSLATED["intervals"], samples=4
        ),
    )
    networks = []
    for member in range(members):
        torch.manual_seed(member)
        networks.append(build_network(network, 1, 2))
    return save_model(folder, networks, contract)


def fit_to_brightness(network, cells):
    """Forty steps towards affinity = brightness."""
    import torch

    image = torch.from_numpy(cells[:48, :96, :80].astype(np.float32))[None, None]
    target = (image > 110).float().expand(1, 3, -1, -1, -1)
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(40):
        optimiser.zero_grad()
        logits = network((image - 120.0) / 60.0)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, target).backward()
        optimiser.step()
