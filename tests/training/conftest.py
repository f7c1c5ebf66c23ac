"""A small drawn volume that a small network learns in seconds."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from connectomics.training.settings import TrainSettings

NEAR = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cells(tmp_path_factory) -> Path:
    """Voronoi cells with dark, noisy borders: cells.h5 with raw and labels, 40^3."""
    random = np.random.default_rng(0)
    grid = np.stack(np.mgrid[:40, :40, :40], -1)
    distance, nearest = cKDTree(random.uniform(0, 40, (20, 3))).query(grid, k=2)
    ramp = np.clip((distance[..., 1] - distance[..., 0]) / 4, 0, 1)
    raw = np.clip(60 + 120 * ramp + random.normal(0, 10, ramp.shape), 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("cells") / "cells.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = raw
        file["labels"] = (nearest[..., 0] + 1).astype(np.uint16)
    return path


@pytest.fixture
def toy(cells) -> TrainSettings:
    """A run of 24 steps."""
    volume = {"raw": "cells.h5/raw", "labels": "cells.h5/labels"}
    return TrainSettings.parse(
        {
            "steps": 24,
            "crop": [16, 16, 16],
            "batch": 2,
            "device": "cpu",
            "log_every": 4,
            "checkpoint_every": 8,
            "data": {
                "root": str(cells.parent),
                "voxel_size": [10, 10, 10],
                "modality": "em",
                "volumes": [{**volume, "region": [[0, 30], [0, 40], [0, 40]]}],
            },
            "network": {"name": "DynUNet", "parameters": {"filters": [4, 8, 8], "res_block": True}},
            "targets": {"offsets": [*NEAR, [-3, 0, 0]], "lsd_sigma": 30, "erosion": 1},
            "optimiser": {"lr": 1e-2},
            "augment": {"sections": 0.2, "rings": 0.2},
            "validation": {
                "every": 16,
                "thresholds": [0.5],
                "volumes": [
                    {
                        **volume,
                        "region": [[24, 40], [0, 40], [0, 40]],
                        "score_region": [[30, 40], [0, 40], [0, 40]],
                    }
                ],
            },
            "export": {"name": "toy", "margin": [4, 4, 4], "half_precision": False},
        }
    )
