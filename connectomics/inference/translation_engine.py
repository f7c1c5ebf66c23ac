"""Translate one tile: passes of an ensemble's networks, their mean, and how sure they are of it."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from connectomics.errors import InputError, ModelError
from connectomics.inference import torch_engine
from connectomics.inference.choice import FIXED_BYTES, QUEUED_BLOCKS, QUEUED_TILES, Choice, choose
from connectomics.inference.dropout import SampledDropout, sample_dropout
from connectomics.inference.engines import Form
from connectomics.inference.fold import fold_batch_norm
from connectomics.inference.footprint import tensor_bytes_per_voxel
from connectomics.inference.memory import MemoryCost
from connectomics.inference.passes import Pass, channel_names, plan_passes
from connectomics.inference.settings import InferenceSettings
from connectomics.inference.torch_engine import TorchDevice
from connectomics.networks.contract import Contract, UncertaintyScales
from connectomics.networks.heads import LOG_VARIANCE, head_slices
from connectomics.networks.models import Model
from connectomics.roi import int_triple

logger = logging.getLogger(__name__)

WORKING_FLOATS = 6
"""float32 values per output voxel while passes are summed: three sums and as much in between."""

GAPS = 1.3
"""Process peak over what is alive at once on a CPU, as measured: freed arrays of many sizes leave gaps."""

DEVICE_SHARE = 0.8
"""Share of a GPU's memory that a tile may take."""


@dataclass(frozen=True)
class Reading:
    """How the channels of a translation's networks are read.

    Attributes
    ----------
    intensity : int
        Channel of the grey value, standardised.
    log_variance : int, optional
        Channel of the logarithm of its variance.
    mean, std : float
        grey = mean + std * x.
    scales : UncertaintyScales
        Factors that calibrated the uncertainty.
    """

    intensity: int
    log_variance: int | None
    mean: float
    std: float
    scales: UncertaintyScales

    @classmethod
    def of(cls, contract: Contract) -> "Reading":
        """That of a contract.

        Raises
        ------
        ModelError
            The contract does not say what its grey values mean.
        """
        if contract.output_normalisation is None:
            raise ModelError(f"model '{contract.name}': a translation without output_normalisation.")
        heads = contract.without_auxiliary().heads
        channel = {head.kind: part.start for head, part in zip(heads, head_slices(heads), strict=True)}
        grey = contract.output_normalisation
        scales = contract.uncertainty or UncertaintyScales()
        return cls(channel["intensity"], channel.get("log_variance"), grey.mean, grey.std, scales)


class TranslationEngine:
    """An engine whose channels are the mean grey value, the aleatoric and the epistemic standard deviation.

    The tile is read, normalised and moved to the device once for all passes. `em` is the mean over the
    passes, `aleatoric` the root of the mean of the variances they predict, `epistemic` the standard deviation
    of their grey values (unbiased), both times the contract's calibration; all in grey levels, float32.

    Parameters
    ----------
    networks
        The ensemble, as `prepare` makes them.
    reading
        What their channels mean.
    passes
        Which network sees which image of the tile.
    device
        Where they run.
    form
        Channels (as `channel_names`), output voxels per input voxel.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        reading: Reading,
        passes: Sequence[Pass],
        device: TorchDevice,
        form: Form,
    ) -> None:
        self.name = f"{device.name}, {len(passes)} passes of {len(networks)} networks"
        self.form = form
        self._device, self._reading, self._passes = device, reading, passes
        self._networks = [device.place(network) for network in networks]
        self._dropouts = [
            [module for module in network.modules() if isinstance(module, SampledDropout)]
            for network in self._networks
        ]

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """em, aleatoric and epistemic of one tile, as far as they are there; see `Engine`."""
        reading, scales = self._reading, self._reading.scales
        with torch.inference_mode():
            mean, variance, squares = self._sum(self._device.tensor(tile))
            images = [mean.mul_(reading.std).add_(reading.mean)]
            if variance is not None:
                images.append(variance.sqrt_().mul_(reading.std * scales.aleatoric))
            if len(self._passes) > 1:
                spread = squares.div_(len(self._passes) - 1).sqrt_()
                images.append(spread.mul_(reading.std * scales.epistemic))
            values = np.empty((len(images), *mean.shape), np.float32)
            for image, target in zip(images, values, strict=True):
                torch.from_numpy(target).copy_(image)
        return values

    def _sum(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Mean grey value, mean variance, and sum of the squared differences from the mean (Welford)."""
        mean = variance = squares = None
        for number, one in enumerate(self._passes, 1):
            grey, log_variance = self._run(one, source)
            if mean is None or squares is None:
                mean, squares = grey, torch.zeros_like(grey)
            else:
                difference = grey - mean
                mean.add_(difference, alpha=1 / number)
                squares.addcmul_(difference, grey.sub_(mean))
            if log_variance is not None:
                new = log_variance.clamp_(*LOG_VARIANCE).exp_()
                variance = new if variance is None else variance.add_(new.sub_(variance), alpha=1 / number)
        if mean is None or squares is None:
            raise InputError("a translation needs at least one pass.")
        return mean, variance, squares

    def _run(self, one: Pass, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Grey value and log-variance, (z, y, x) float32 of their own, of one pass."""
        for module in self._dropouts[one.member]:
            module.seed = one.seed
        axes = [a + 2 for a in one.axes]
        result = self._networks[one.member](source.flip(axes) if axes else source)
        wanted = [self._reading.intensity, self._reading.log_variance]
        grey, log_variance = (
            None if channel is None else result[0, channel].flip(one.axes).float() for channel in wanted
        )
        if grey is None:
            raise ModelError("a translation without a head of kind 'intensity'.")
        return grey, log_variance


def make_translation_engine(
    model: Model, settings: InferenceSettings, samples: int
) -> tuple[TranslationEngine, MemoryCost]:
    """Make a translation ready for the device of the settings, and say what it costs in memory.

    Parameters
    ----------
    model
        Its contract has an intensity head.
    settings
        Device, threads, precision, flips.
    samples
        Passes per tile; see `plan_passes`.

    Raises
    ------
    InputError
        The device is not there, OpenVINO was asked for, or there are not so many different passes.
    ModelError
        The weights do not fit the contract, or it lacks what a translation needs.
    """
    from connectomics.networks.checkpoint import load_network

    check_engine(settings)
    contract = model.contract
    passes = plan_passes(samples, contract.members, contract.network.dropout > 0, settings.flips)
    choice = choose(settings.model_copy(update={"engine": "torch"}))
    used = 1 + max(one.member for one in passes)
    networks = [prepare(load_network(model, member), contract) for member in range(used)]
    form = Form(len(channel_names(contract, samples)), contract.network.upsample, np.float32)
    device = TorchDevice(choice.device, settings.threads, choice.precision)
    cost = _cost(networks, contract, form, choice)
    engine = TranslationEngine(networks, Reading.of(contract), passes, device, form)
    logger.info("translation with %s", engine.name)
    return engine, cost


def check_engine(settings: InferenceSettings) -> None:
    """Refuse an engine that cannot draw dropout masks.

    Raises
    ------
    InputError
        OpenVINO was asked for.
    """
    if settings.engine == "openvino":
        raise InputError(
            "engine openvino: a translation runs on torch. Choose --engine torch or leave it out."
        )


def prepare(network: nn.Module, contract: Contract) -> nn.Module:
    """A network as `TranslationEngine` takes it: dropout sampled, batch norms folded.

    Raises
    ------
    ModelError
        The contract names dropout that the network does not have.
    """
    dropouts = sample_dropout(network)
    if bool(dropouts) != (contract.network.dropout > 0):
        raise ModelError(
            f"model '{contract.name}': its contract says dropout {contract.network.dropout}, its "
            f"{contract.network.name} has {len(dropouts)} dropout layers."
        )
    for module in dropouts:
        module.seed = "fold"  # so that folding sees where dropout lies between
    example = int_triple([max(d, 16 // d * d) for d in contract.divisor])
    return fold_batch_norm(network, contract.in_channels, example)


def _cost(networks: Sequence[nn.Module], contract: Contract, form: Form, choice: Choice) -> MemoryCost:
    """What a process takes; on a GPU, also the largest tile that it holds."""
    fine = math.prod(form.scale)
    tensors = tensor_bytes_per_voxel(networks[0], contract.in_channels, contract.divisor)
    queued = 4.0 * contract.in_channels * QUEUED_TILES + 4.0 * form.channels * fine * QUEUED_BLOCKS
    weights = sum(4 * tensor.numel() for network in networks for tensor in network.parameters())
    work = tensors * torch_engine.BYTES_FACTOR[choice.precision] + 4.0 * WORKING_FLOATS * fine
    cost = MemoryCost(FIXED_BYTES + weights, GAPS * (queued + work))
    if choice.device != "cuda":
        return cost
    room = DEVICE_SHARE * torch.cuda.get_device_properties(0).total_memory - weights
    return replace(cost, per_voxel=GAPS * (queued + 4.0 * form.channels * fine), most=int(room / work))
