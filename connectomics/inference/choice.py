"""Which device and engine a run takes, and why."""

import logging
from dataclasses import dataclass

import torch
from torch import nn

from connectomics.errors import InputError
from connectomics.inference import openvino_engine, torch_engine
from connectomics.inference.engines import Engine, Precision
from connectomics.inference.fold import fold_batch_norm
from connectomics.inference.footprint import tensor_bytes_per_voxel
from connectomics.inference.memory import MemoryCost
from connectomics.inference.openvino_engine import OpenVinoEngine, openvino_installed
from connectomics.inference.settings import InferenceSettings
from connectomics.inference.torch_engine import TorchEngine
from connectomics.roi import IntTriple, int_triple

logger = logging.getLogger(__name__)

FIXED_BYTES = 750_000_000
"""The process before its first tile, measured: Python, torch, MONAI, OpenVINO and the readers."""

QUEUED_TILES = 4
"""Raw tiles alive at once: being read, two waiting, in the network."""

QUEUED_BLOCKS = 4
"""Output blocks alive at once: being filled, waiting, being written, being compressed."""


@dataclass(frozen=True)
class Choice:
    """A device, an engine, the numbers it computes with, and the reason in words."""

    device: str
    engine: str
    precision: Precision
    reason: str


def choose(settings: InferenceSettings) -> Choice:
    """Settle ``auto`` for this machine.

    Raises
    ------
    InputError
        CUDA or OpenVINO was asked for and is not there, or the two were asked for together.
    """
    usable = torch.cuda.is_available()
    if settings.device == "cuda" and not usable:
        raise InputError(
            "device cuda: torch finds no usable CUDA device here. Choose --device cpu, or install a CUDA "
            "build of torch and check nvidia-smi."
        )
    if settings.device == "cuda" and settings.engine == "openvino":
        raise InputError("engine openvino runs on a CPU only: choose --engine torch or --device cpu.")
    if settings.engine == "openvino" and not openvino_installed():
        raise InputError(
            "engine openvino: not installed. Run pip install openvino, or choose --engine torch."
        )
    on_gpu = settings.device != "cpu" and usable and settings.engine != "openvino"
    device = "cuda" if on_gpu else "cpu"
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "f32"
    if settings.engine != "auto":
        return Choice(device, settings.engine, precision, "as asked")
    if on_gpu:
        return Choice(device, "torch", precision, f"CUDA is usable: {torch.cuda.get_device_name()}")
    why = "the CPU was asked for" if settings.device == "cpu" else "no usable CUDA device"
    if openvino_installed():
        return Choice(device, "openvino", precision, f"{why}; OpenVINO is the fastest engine on a CPU")
    return Choice(device, "torch", precision, f"{why}; OpenVINO is not installed")


def has_bf16(device: str) -> bool:
    """True where the device has instructions of its own for bfloat16, so that it is the faster choice."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def make_engine(
    network: nn.Module, in_channels: int, channels: int, divisor: IntTriple, settings: InferenceSettings
) -> tuple[Engine, MemoryCost]:
    """Make a network ready for the device and engine of the settings, and say what it costs in memory.

    Parameters
    ----------
    network
        Logits, float32, on the CPU.
    in_channels, channels
        Channels in, and how many leading channels to keep.
    divisor
        Multiple that the sides of its input must be.
    settings
        Device, engine, threads.
    """
    choice = choose(settings)
    logger.info(
        "network on %s with %s in %s: %s", choice.device, choice.engine, choice.precision, choice.reason
    )
    example = int_triple([max(d, 32 // d * d) for d in divisor])
    folded = fold_batch_norm(network, in_channels, example)
    tensors = tensor_bytes_per_voxel(folded, in_channels, divisor)
    engine: Engine
    if choice.engine == "openvino":
        engine = OpenVinoEngine(folded, channels, in_channels, example, settings.threads, choice.precision)
        work = tensors * openvino_engine.BYTES_FACTOR[choice.precision]
    else:
        engine = TorchEngine(folded, channels, choice.device, settings.threads, choice.precision)
        work = tensors * torch_engine.BYTES_FACTOR[choice.precision]
    if choice.device == "cuda":
        work = float(channels)
    queued = 4.0 * in_channels * QUEUED_TILES + channels * QUEUED_BLOCKS
    return engine, MemoryCost(FIXED_BYTES, work + queued)
