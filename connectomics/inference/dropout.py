"""Dropout in prediction: whole channels, the same in every tile, so that samples have no seams."""

import hashlib

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from connectomics.errors import ModelError


class SampledDropout(nn.Module):
    """Drops the channels that a seed and its own number decide, and nothing while the seed is None.

    A mask depends neither on the tile nor on the device: neighbouring tiles are computed by one thinned
    network, and their faces fit.

    Parameters
    ----------
    share
        Share of the channels dropped.
    number
        Which dropout of its network this is.
    """

    def __init__(self, share: float, number: int) -> None:
        super().__init__()
        self.share = share
        self.number = number
        self.seed: str | None = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, c, z, y, x), its dropped channels 0 and the others scaled up."""
        if self.seed is None:
            return features
        kept = channel_mask(f"{self.seed}/{self.number}", self.share, features.shape[1])
        mask = torch.from_numpy(kept).to(features.device, features.dtype)
        return features * mask[None, :, None, None, None]


def channel_mask(seed: str, share: float, channels: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """0 for a dropped channel and 1 / (1 - share) for the others; the same wherever it is drawn."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little")
    kept = np.random.default_rng(number).random(channels) >= share
    return np.asarray(kept / (1 - share), np.float32)


def sample_dropout(network: nn.Module) -> list[SampledDropout]:
    """Put a `SampledDropout` for every dropout of a network, in place, and return them in order."""
    made: list[SampledDropout] = []
    for name, module in list(network.named_modules()):
        if isinstance(module, _DropoutNd) and module.p > 0:
            if not isinstance(module, nn.Dropout3d):
                raise ModelError(
                    f"{name}: {type(module).__name__} cannot be sampled; only whole channels can."
                )
            parent, _, leaf = name.rpartition(".")
            made.append(SampledDropout(module.p, len(made)))
            setattr(network.get_submodule(parent), leaf, made[-1])
    return made
