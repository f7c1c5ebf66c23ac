"""What a network costs: parameters, and how far it looks."""

import torch
from torch import nn

from connectomics.roi import IntTriple


def count_parameters(network: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in network.parameters())


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
