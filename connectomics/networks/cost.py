"""What a network costs: parameters, operations, bytes a voxel, and how far it looks."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from connectomics.networks.build import build_network, divisor_of
from connectomics.networks.contract import NetworkSettings
from connectomics.networks.live_bytes import peak_tensor_bytes
from connectomics.roi import IntTriple, int_triple

_LONGEST = 1024
"""Voxels along an axis within which a receptive field is looked for."""


@dataclass(frozen=True)
class Cost:
    """What a network costs; bytes are those of float32 tensors.

    Attributes
    ----------
    parameters : int
        Numbers learnt.
    operations_per_voxel : float
        Floating-point operations of prediction for each input voxel (a multiply-add is two), convolutions
        alone. A training step takes three times as many, where activations are computed again four times.
    training_bytes_per_voxel : float
        Peak of the tensors alive in forward and backward, for each input voxel of a batch; loss, targets and
        what a library's kernels take beside them apart.
    training_bytes_fixed : int
        Weights, their gradients, AdamW's two moments and the averaged weights.
    inference_bytes_per_voxel : float
        Peak of the tensors alive in prediction, for each voxel of a tile.
    receptive_field : IntTriple
        Input voxels (z, y, x) that can change one output voxel.
    """

    parameters: int
    operations_per_voxel: float
    training_bytes_per_voxel: float
    training_bytes_fixed: int
    inference_bytes_per_voxel: float
    receptive_field: IntTriple


def cost_of(settings: NetworkSettings, in_channels: int, out_channels: int) -> Cost:
    """The cost of a network with fresh weights: seconds, for only the receptive field runs it.

    Parameters
    ----------
    settings
        Architecture and parameters.
    in_channels, out_channels
        Channels of input and output.

    Raises
    ------
    ModelError
        The network is unknown or cannot be built.
    """
    network = build_network(settings, in_channels, out_channels)
    divisor = divisor_of(settings)
    parameters = count_parameters(network)
    ghost = copy.deepcopy(network).to("meta", memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return Cost(
        parameters=parameters,
        operations_per_voxel=operations_per_voxel(ghost, in_channels, divisor),
        training_bytes_per_voxel=_bytes_per_voxel(ghost.train(), in_channels, divisor),
        training_bytes_fixed=4 * 5 * parameters,
        inference_bytes_per_voxel=_bytes_per_voxel(ghost.eval(), in_channels, divisor),
        receptive_field=receptive_field(network, in_channels, divisor),
    )


def count_parameters(network: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in network.parameters())


def operations_per_voxel(network: nn.Module, in_channels: int, divisor: Sequence[int]) -> float:
    """Floating-point operations of the convolutions for each input voxel, of a network on the meta device."""
    tile = _ghost_tile(in_channels, divisor, 64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(tile)
    return counter.get_total_flops() / math.prod(tile.shape[2:])


def _bytes_per_voxel(network: nn.Module, in_channels: int, divisor: Sequence[int]) -> float:
    """Of a step or of prediction, as the network's mode says: the slope between two sizes.

    So what does not grow with the crop, such as gradients of the weights, does not count.
    """
    peaks, voxels = [], []
    for edge in (64, 128):
        tile = _ghost_tile(in_channels, divisor, edge)
        peaks.append(peak_tensor_bytes(lambda tile=tile: _step(network, tile)))  # type: ignore[misc]
        voxels.append(math.prod(tile.shape[2:]))
    return (peaks[1] - peaks[0]) / (voxels[1] - voxels[0])


def _step(network: nn.Module, tile: torch.Tensor) -> torch.Tensor | None:
    if not network.training:
        with torch.no_grad():
            answer: torch.Tensor = network(tile)
        return answer
    answer = network(tile)
    answer.backward(torch.empty_like(answer))  # type: ignore[no-untyped-call]
    network.zero_grad()
    return None


def _ghost_tile(in_channels: int, divisor: Sequence[int], least: int) -> torch.Tensor:
    edges = [d * math.ceil(least / d) for d in divisor]
    return torch.empty(1, in_channels, *edges, device="meta").to(memory_format=torch.channels_last_3d)


def receptive_field(network: nn.Module, in_channels: int, divisor: Sequence[int]) -> IntTriple:
    """Input voxels (z, y, x) that can change one output voxel: the most, over where it lies among strides.

    Measured by gradient along one axis after the other, in boxes that are long along that axis alone.
    Greatest values are taken as means, so that every voxel of a pool counts. At most about 1000.
    """
    probe = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    for module in list(probe.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool3d):
                setattr(module, name, nn.AvgPool3d(child.kernel_size, child.stride, child.padding))
    if len(set(divisor)) == 1 and all(_is_alike(module) for module in probe.modules()):
        return int_triple([_field_along(probe, in_channels, divisor, 0)] * 3, "field")
    return int_triple([_field_along(probe, in_channels, divisor, axis) for axis in range(3)], "field")


def _is_alike(module: nn.Module) -> bool:
    """True where a layer does the same along all axes."""
    named = (getattr(module, name, 1) for name in ("kernel_size", "stride", "dilation", "factor"))
    return all(len(set(value)) == 1 for value in named if isinstance(value, tuple))


def _field_along(network: nn.Module, in_channels: int, divisor: Sequence[int], axis: int) -> int:
    length, step = 128, divisor[axis]
    while True:
        edges = list(divisor)
        edges[axis] = step * math.ceil(length / step)
        middle = edges[axis] // 2 // step * step
        found = _touched(network, in_channels, edges, axis, (middle, middle + step - 1))
        inside = all(low > 0 and high < edges[axis] for low, high in found)
        if inside or length >= _LONGEST:
            return max(high - low for low, high in found)
        length *= 2


def _touched(
    network: nn.Module, in_channels: int, edges: Sequence[int], axis: int, places: Sequence[int]
) -> list[tuple[int, int]]:
    """First voxel and last + 1 along an axis that change the output at each of some places along it."""
    image = torch.randn(1, in_channels, *edges, requires_grad=True)
    answer, found = network(image), []
    finer = answer.shape[2 + axis] // edges[axis]
    for at in places:
        seen = answer.select(2 + axis, at * finer).sum()
        (gradient,) = torch.autograd.grad(seen, image, retain_graph=True)
        along = gradient[0].abs().amax([0, *(1 + a for a in range(3) if a != axis)]).nonzero().flatten()
        found.append((int(along[0]), int(along[-1]) + 1))
    return found


def reach(network: nn.Module, edge: int = 128, in_channels: int = 1) -> IntTriple:
    """How far from a voxel (z, y, x) an input voxel can change its output, measured by gradient.

    Parameters
    ----------
    network
        Any network; run once forward and backward on a cube, on the device it is on.
    edge
        Edge of the cube, a multiple of the divisor; the answer is at most half of it.
    in_channels
        Channels of the input.
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    probe = torch.randn(1, in_channels, edge, edge, edge, device=device, requires_grad=True)
    centre = edge // 2
    output: torch.Tensor = network(probe)
    output[0, :, centre, centre, centre].sum().backward()  # type: ignore[no-untyped-call]
    network.train(was_training)
    network.zero_grad()
    gradient = probe.grad
    if gradient is None:
        return 0, 0, 0
    touched = gradient[0].abs().sum(0).nonzero()
    z, y, x = ((touched - centre).abs().amax(0)).tolist()
    return z, y, x
