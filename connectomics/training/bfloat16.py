"""Where bfloat16 cannot be trusted: some convolutions of a shallow crop get wrong gradients on a CPU."""

from typing import Any

import torch
from torch import nn

from connectomics.errors import SettingsError
from connectomics.networks.build import build_network
from connectomics.networks.contract import NetworkSettings
from connectomics.roi import IntTriple


def check_depth(network: NetworkSettings, crop: IntTriple) -> None:
    """Refuse crops on which a convolution is longer along z than what it sees, more than one section.

    The weights' gradient of such a convolution is arbitrary in bfloat16 on a CPU (seen with torch 2.13 and
    oneDNN: relative errors of 1 to infinity with kernel 3 on 2 sections, kernel 5 on 2 to 4). Clipped, it
    would be a step in a random direction that no loss tells of.

    Raises
    ------
    SettingsError
        Says which; the depth there is that of the crop over the strides before.
    """
    found = shallow(network, crop)
    if found is not None:
        kernel, depth = found
        raise SettingsError(
            f"crop: {crop} leaves a convolution of {kernel} sections only {depth} to look at; its gradient "
            'is wrong in bfloat16 on a CPU: give a crop of more sections, or precision = "float32".'
        )


def shallow(network: NetworkSettings, crop: IntTriple) -> tuple[int, int] | None:
    """Kernel and sections of the first convolution that is longer than what it sees; None where none is."""
    with torch.device("meta"):
        module = build_network(network, 1, 1).eval()
        image = torch.empty(1, 1, *crop)
    found: list[tuple[int, int]] = []

    def look(layer: nn.Module, given: tuple[Any, ...]) -> None:
        kernel, depth = int(layer.kernel_size[0]), int(given[0].shape[2])  # type: ignore[index]
        if 1 < depth < kernel:
            found.append((kernel, depth))

    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            layer.register_forward_pre_hook(look)
    with torch.no_grad():
        module(image)
    return found[0] if found else None
