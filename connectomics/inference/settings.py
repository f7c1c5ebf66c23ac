"""How a network is run over a volume: device, engine, tiles, memory, flips."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from connectomics.inference.memory import parse_bytes
from connectomics.settings import Settings


def _bytes(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
"""An amount of memory, such as 8GB."""


class SamplingSettings(Settings):
    """How often a translation looks at each tile."""

    samples: int | None = Field(default=None, gt=0)
    """Passes per tile: `em` is their mean, `epistemic` how far they differ. Shared out among an ensemble's
    networks; a network's passes differ in their dropout masks, without dropout in mirror images. With 1, no
    `epistemic` is written. Default: as the model was calibrated, else one for each network of an ensemble,
    8 for one network with dropout, 1 for one without."""


class InferenceSettings(Settings):
    """Settings of the network stage.

    Device, engine and threads change the values by about 2e-3 of a probability at most, precision by 2e-2
    (2e-3 on average); tile, margin and memory change what lies near the faces between tiles; flips change
    everything a little.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; auto takes CUDA where there is a usable device, and says so."""

    engine: Literal["auto", "torch", "openvino"] = "auto"
    """What runs the network; auto takes torch on CUDA, and on a CPU OpenVINO where it is installed."""

    precision: Literal["auto", "f32", "bf16"] = "auto"
    """Numbers the network computes with; auto takes bf16 where the device has instructions for it."""

    tile: int | None = Field(default=None, gt=0)
    """Edge in voxels of the cube that one network call keeps; unset: the cheapest that fits the memory."""

    margin: int | None = Field(default=None, ge=0)
    """Voxels of context around each tile, computed and cut away; unset: what the model asks for."""

    memory: Bytes = 4_000_000_000
    """Bytes for the whole command, such as 8GB (= 8e9 bytes); tiles are sized to it."""

    flips: Literal[1, 2, 4, 8] = 1
    """Mirror images averaged per tile (test-time averaging): 1 none, 2 x, 4 y and x, 8 all axes."""

    threads: int | None = Field(default=None, gt=0)
    """CPU threads of the network; unset: all that this process may use."""
