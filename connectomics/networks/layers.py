"""In which order a network runs through its layers, and on which grid: found by watching an input pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from connectomics.errors import ModelError
from connectomics.roi import IntTriple

_COARSEST_EDGES = 2
"""Voxels along each edge of the coarsest grid of the input that is watched; fewer was pooled away."""


@dataclass(frozen=True)
class Pass:
    """One layer's turn.

    Attributes
    ----------
    name : str
        The module's name in the network.
    grid : tuple of int
        Voxels (z, y, x) of what it gave.
    """

    name: str
    grid: IntTriple


def watch(network: nn.Module, in_channels: int, divisor: Sequence[int]) -> list[Pass]:
    """The layers in the order in which they finish, an input of twice the divisor passing.

    The network's mode and statistics are left as they were. Modules that give no (n, c, z, y, x) tensor are
    left out; one that is used several times comes several times.
    """
    passes: list[Pass] = []
    names = {module: name for name, module in network.named_modules() if name}

    def note(module: nn.Module, given: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 5:
            z, y, x = output.shape[2:]
            passes.append(Pass(names[module], (z, y, x)))

    hooks = [module.register_forward_hook(note) for module in names]
    training, place = network.training, next(network.parameters())
    edges = [_COARSEST_EDGES * d for d in divisor]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros((1, in_channels, *edges), device=place.device, dtype=place.dtype))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return passes


def deepest_layer(network: nn.Module, in_channels: int, divisor: Sequence[int]) -> str:
    """Name of the last layer on the coarsest grid: a U-Net's bottleneck.

    Raises
    ------
    ModelError
        No layer gives a grid of features.
    """
    passes = [one for one in watch(network, in_channels, divisor) if min(one.grid) >= _COARSEST_EDGES]
    if not passes:
        raise ModelError("network: no layer gives a (n, c, z, y, x) tensor; it has no deepest layer.")
    coarsest = min(math.prod(one.grid) for one in passes)
    return [one.name for one in passes if math.prod(one.grid) == coarsest][-1]


def parameter_depths(network: nn.Module, in_channels: int, divisor: Sequence[int]) -> dict[str, int]:
    """How far each parameter lies from the output, in stages of one grid: 0 the last, as many as it has.

    A U-Net of three levels has five: its way up is 0 and 1, its bottleneck 2, its way down 3 and 4.

    Returns
    -------
    dict
        By the parameter's name in `named_parameters`; what is never used counts as the farthest.
    """
    modules = dict(network.named_modules())
    stage_of: dict[int, int] = {}
    stage, grid = -1, None
    for one in watch(network, in_channels, divisor):
        own = list(modules[one.name].parameters(recurse=False))
        if not own:
            continue
        if one.grid != grid:
            stage, grid = stage + 1, one.grid
        stage_of |= {id(parameter): stage for parameter in own}
    return {name: stage - stage_of.get(id(one), 0) for name, one in network.named_parameters()}
