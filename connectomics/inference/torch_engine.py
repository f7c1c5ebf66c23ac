"""Run a network with torch, in float32 or bfloat16."""

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from connectomics.inference.engines import QUANTA, Form, Precision

logger = logging.getLogger(__name__)

BYTES_FACTOR: dict[Precision, float] = {"f32": 1.2, "bf16": 0.85}
"""Process peak over `footprint.tensor_bytes_per_voxel` on a CPU, as measured: oneDNN reorders some inputs."""


class Probabilities(nn.Module):
    """A network of logits with what follows it: leading channels, sigmoid, ``round(255 p)``.

    Parameters
    ----------
    network
        Gives logits (1, c, z, y, x).
    channels
        How many leading channels to keep.
    """

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network = network
        self.channels = channels

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        """Quantised probabilities (1, channels, z, y, x) uint8."""
        kept = self.network(tile)[:, : self.channels]
        return torch.round(torch.sigmoid(kept.float()) * QUANTA).to(torch.uint8)


class TorchDevice:
    """Where torch computes, and with what numbers.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``.
    threads
        CPU threads; None leaves torch's choice.
    precision
        What networks compute with.
    """

    def __init__(self, device: str, threads: int | None, precision: Precision) -> None:
        self.name = f"torch on {device}, {precision}"
        self._device = torch.device(device)
        self._format: dict[str, Any] = {"memory_format": torch.channels_last_3d}
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        if threads is not None:
            torch.set_num_threads(threads)
        if self._device.type == "cuda":
            torch.backends.cudnn.benchmark = True

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network here, in eval mode."""
        return network.eval().to(self._device, self._dtype, **self._format)

    def tensor(self, tile: NDArray[np.float32]) -> torch.Tensor:
        """Copy a tile (1, c, z, y, x) here."""
        return torch.from_numpy(tile).to(self._device, self._dtype, **self._format)


class TorchEngine:
    """A network on a torch device.

    Parameters
    ----------
    network
        Folded, float32, in eval mode.
    channels
        How many leading channels to keep.
    device
        ``cpu`` or ``cuda``.
    threads
        CPU threads; None leaves torch's choice.
    precision
        What the network computes with.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: int,
        device: str = "cpu",
        threads: int | None = None,
        precision: Precision = "f32",
    ) -> None:
        self._device = TorchDevice(device, threads, precision)
        self.name = self._device.name
        self.form = Form(channels)
        self._network = Probabilities(self._device.place(network), channels)

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Probabilities of one tile; see `Engine`."""
        with torch.inference_mode():
            result: NDArray[np.uint8] = self._network(self._device.tensor(tile))[0].cpu().numpy()
        return result
