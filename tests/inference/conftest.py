"""Small networks whose receptive field is known, and predictors made of them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from connectomics.inference.choice import make_engine
from connectomics.inference.memory import TileRule
from connectomics.inference.normalisation import Affine
from connectomics.inference.predictor import Predictor
from connectomics.inference.settings import InferenceSettings

FIXED = {"engine": "torch", "device": "cpu", "threads": 1, "precision": "f32"}
"""The same values on every machine."""


class Pooling(nn.Module):
    """Convolution, pool by 2, convolution, up: sees 4 voxels to a side, in the pooling's phase."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(inplace=True))
        self.deep = nn.Sequential(nn.Conv3d(4, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU())
        self.last = nn.Conv3d(8, channels, 1)

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        high = self.first(tile)
        low = self.deep(nn.functional.max_pool3d(high, 2))
        return self.last(torch.cat([high, nn.functional.interpolate(low, scale_factor=2)], 1))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    net = Pooling()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    return net.eval()


@pytest.fixture
def make(network: nn.Module) -> Callable[..., Predictor]:
    def build(margin: int = 6, granule: int = 8, channels: int = 3, **settings: object) -> Predictor:
        values = InferenceSettings.parse({**FIXED, **settings})
        engine, cost = make_engine(network, 1, channels, (2, 2, 2), values)
        rule = TileRule((margin,) * 3, (2, 2, 2), granule)
        return Predictor(engine, Affine(100.0, 50.0), rule, values, cost)

    return build


@pytest.fixture
def raw() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (30, 26, 21), dtype=np.uint8)
