"""Fold each batch normalisation into the convolution before it: the same values, fewer passes."""

import copy
import logging
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from connectomics.roi import IntTriple

logger = logging.getLogger(__name__)

CONVOLUTIONS = (nn.Conv3d, nn.ConvTranspose3d)


def fold_batch_norm(network: nn.Module, in_channels: int, edges: IntTriple) -> nn.Module:
    """Return a copy of `network` in eval mode without its foldable batch normalisations.

    The pairs are found by running a small tile and seeing whose output goes where, so any module structure
    works. The result is compared with the original; where they differ, the original is kept.

    Parameters
    ----------
    network
        A network on the CPU.
    in_channels
        Channels it takes.
    edges
        Shape of the small tile, zyx voxels: multiples of the network's divisor.
    """
    original = copy.deepcopy(network).eval()
    folded = copy.deepcopy(original)
    example = torch.rand(1, in_channels, *edges)
    with torch.inference_mode():
        pairs = _pairs(folded, example)
    names = {module: name for name, module in folded.named_modules()}
    for convolution, norm in pairs:
        transpose = isinstance(convolution, nn.ConvTranspose3d)
        fused = fuse_conv_bn_eval(cast(Any, convolution), norm, transpose=transpose)
        _replace(folded, names[convolution], fused)
        _replace(folded, names[norm], nn.Identity())
    with torch.inference_mode():
        difference = float((original(example) - folded(example)).abs().max())
    if not difference < 1e-3:
        logger.info("batch norm not folded: values would differ by %.1e", difference)
        return original
    logger.debug("folded %d batch norms, largest difference %.1e", len(pairs), difference)
    return folded


def _pairs(network: nn.Module, example: torch.Tensor) -> list[tuple[nn.Module, _BatchNorm]]:
    made: dict[int, tuple[nn.Module, torch.Tensor]] = {}
    pairs: list[tuple[nn.Module, _BatchNorm]] = []
    calls: dict[nn.Module, int] = {}

    def remember(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        made[id(output)] = (module, output)
        calls[module] = calls.get(module, 0) + 1

    def forget(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        made.pop(id(output), None)  # dropout hands its input on: a norm after it is not the convolution's

    def match(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], cast(_BatchNorm, module)))

    hooks: list[Any] = []
    for module in network.modules():
        if isinstance(module, CONVOLUTIONS):
            hooks.append(module.register_forward_hook(remember))
        elif isinstance(module, _DropoutNd):
            hooks.append(module.register_forward_hook(forget))
        elif isinstance(module, _BatchNorm):
            hooks.append(module.register_forward_pre_hook(match))
    network(example)
    for hook in hooks:
        hook.remove()
    return [pair for pair in pairs if calls[pair[0]] == 1 and not _grouped_transpose(pair[0])]


def _grouped_transpose(module: nn.Module) -> bool:
    """A transposed convolution in groups, which torch fuses wrongly (its weights are laid out otherwise)."""
    return isinstance(module, nn.ConvTranspose3d) and module.groups > 1


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, module)
