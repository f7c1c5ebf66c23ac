"""Networks by name, MONAI's and the reversible one: logits at the input's resolution or finer."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from connectomics.errors import ModelError, did_you_mean
from connectomics.networks.contract import NetworkSettings
from connectomics.roi import IntTriple


@dataclass(frozen=True)
class Architecture:
    """How one network is built.

    Attributes
    ----------
    build : callable
        (in_channels, out_channels, parameters) -> module.
    defaults : dict
        Parameters that hold unless the settings say otherwise.
    output_layer : str
        Name of the last convolution, whose output channels are the heads'.
    divisor : callable
        parameters -> multiple that every tile edge must be of.
    fold : callable
        parameters -> voxels along each axis that share one voxel of the last convolution.
    dropout : str
        What the builder calls the share of features that are dropped.
    """

    build: Callable[[int, int, dict[str, Any]], nn.Module]
    defaults: dict[str, Any]
    output_layer: str
    divisor: Callable[[dict[str, Any]], IntTriple]
    fold: Callable[[dict[str, Any]], int] = lambda parameters: 1
    dropout: str = "dropout"


def _dynunet(in_channels: int, out_channels: int, parameters: dict[str, Any]) -> nn.Module:
    from monai.networks.nets.dynunet import DynUNet

    given = dict(parameters)
    dropout = given.pop("dropout", None) or 0.0
    strides = given.pop("strides", None) or [1] + [2] * (len(given["filters"]) - 1)
    kernels = given.pop("kernel_size", None) or [3] * len(strides)
    network = DynUNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernels,
        strides=strides,
        upsample_kernel_size=strides[1:],
        norm_name="batch",
        **given,
    )
    _drop_in_depth(network, dropout)
    return network


def _drop_in_depth(network: Any, share: float) -> None:
    """Dropout of whole channels after the activations of all blocks of the way up but the finest.

    MONAI's own option drops single voxels before every norm, whose statistics then fit no run without
    dropout, and drops voxels of the output, too.
    """
    if share == 0:
        return
    for block in (network.bottleneck, *(up.conv_block for up in network.upsamples[:-1])):
        block.lrelu = nn.Sequential(block.lrelu, nn.Dropout3d(share))


def _folded_unet(in_channels: int, out_channels: int, parameters: dict[str, Any]) -> nn.Module:
    from connectomics.networks.folded import Folded

    given = dict(parameters)
    edge = int(given.pop("fold"))
    return Folded(_dynunet(in_channels * edge**3, out_channels * edge**3, given), edge)


def _basic_unet(in_channels: int, out_channels: int, parameters: dict[str, Any]) -> nn.Module:
    from monai.networks.nets.basic_unet import BasicUNet

    given = dict(parameters)
    share = given.pop("dropout", 0.0)
    network = BasicUNet(
        spatial_dims=3, in_channels=in_channels, out_channels=out_channels, norm="batch", **given
    )
    if share:  # whole channels in depth; as to MONAI's own option, see `_drop_in_depth`
        for block in (network.down_4, network.upcat_4, network.upcat_3, network.upcat_2):
            block.get_submodule("convs").add_module("dropout", nn.Dropout3d(share))
    return network


def _segresnet(in_channels: int, out_channels: int, parameters: dict[str, Any]) -> nn.Module:
    from monai.networks.nets.segresnet import SegResNet

    given = {"blocks_up": [1] * (len(parameters["blocks_down"]) - 1), **parameters}
    return SegResNet(
        spatial_dims=3, in_channels=in_channels, out_channels=out_channels, norm="batch", **given
    )


def _mednext(in_channels: int, out_channels: int, parameters: dict[str, Any]) -> nn.Module:
    from monai.networks.nets.mednext import MedNeXt

    given = dict(parameters)
    dropout = given.pop("dropout", 0.0)
    network = MedNeXt(spatial_dims=3, in_channels=in_channels, out_channels=out_channels, **given)
    if dropout:
        network.bottleneck.append(nn.Dropout3d(dropout))
    _batch_norm_for_group_norm(network)
    return network


def _batch_norm_for_group_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(module, name, nn.BatchNorm3d(child.num_channels))
        else:
            _batch_norm_for_group_norm(child)


def _reversible_unet(in_channels: int, out_channels: int, parameters: dict[str, Any]) -> nn.Module:
    from connectomics.networks.reversible_unet import ReversibleShape, ReversibleUNet

    return ReversibleUNet(in_channels, out_channels, ReversibleShape(**parameters))


def _strides(parameters: dict[str, Any]) -> IntTriple:
    steps = parameters.get("strides") or [1] + [2] * (len(parameters["filters"]) - 1)
    total = [1, 1, 1]
    for step in steps:
        along = [step] * 3 if isinstance(step, int) else list(step)
        total = [a * b for a, b in zip(total, along, strict=True)]
    return total[0], total[1], total[2]


def _folded_strides(parameters: dict[str, Any]) -> IntTriple:
    z, y, x = _strides(parameters)
    edge = int(parameters["fold"])
    return z * edge, y * edge, x * edge


def _cube(edge: int) -> IntTriple:
    return edge, edge, edge


ARCHITECTURES: dict[str, Architecture] = {
    "DynUNet": Architecture(
        _dynunet, {"filters": [24, 48, 96, 192], "res_block": True}, "output_block.conv.conv", _strides
    ),
    "FoldedUNet": Architecture(
        _folded_unet,
        {"filters": [48, 96, 192], "res_block": True, "fold": 2},
        "network.output_block.conv.conv",
        _folded_strides,
        lambda parameters: int(parameters["fold"]),
    ),
    "BasicUNet": Architecture(
        _basic_unet, {"features": [24, 24, 48, 96, 192, 24]}, "final_conv", lambda _: _cube(16)
    ),
    "SegResNet": Architecture(
        _segresnet,
        {"init_filters": 24, "blocks_down": [1, 2, 2, 2]},
        "conv_final.2.conv",
        lambda p: _cube(2 ** (len(p["blocks_down"]) - 1)),
        dropout="dropout_prob",
    ),
    "MedNeXt": Architecture(
        _mednext,
        {"init_filters": 24, "kernel_size": 3, "use_residual_connection": True},
        "out_0.conv_out",
        lambda p: _cube(2 ** len(p.get("blocks_down", (2, 2, 2, 2)))),
    ),
    "ReversibleUNet": Architecture(_reversible_unet, {"filters": [32, 64, 128, 256]}, "head.conv", _strides),
}
"""The networks that `build_network` knows."""

FINE_FEATURES = 8
"""Channels on the fine grid of a network that upsamples, unless its parameters say fine_features."""

_FINE = "fine_features"


def _architecture(settings: NetworkSettings) -> tuple[Architecture, dict[str, Any]]:
    found = ARCHITECTURES.get(settings.name)
    if found is None:
        raise ModelError(
            f"network '{settings.name}': no such network.{did_you_mean(settings.name, ARCHITECTURES)}"
        )
    parameters = {**found.defaults, **settings.parameters}
    if settings.dropout:
        parameters[found.dropout] = settings.dropout
    return found, parameters


def build_network(settings: NetworkSettings, in_channels: int, out_channels: int) -> nn.Module:
    """Build a network with fresh weights.

    Parameters
    ----------
    settings
        Architecture and its parameters; what is not given takes our default.
    in_channels, out_channels
        Channels of input and output.

    Returns
    -------
    nn.Module
        (n, in, z, y, x) float -> (n, out, z, y, x) logits, `settings.upsample` times as many voxels along
        each axis; z, y, x of the input multiples of `divisor_of`.

    Raises
    ------
    ModelError
        An unknown network, or parameters that it does not take.
    """
    from connectomics.networks.superresolved import SuperResolved

    architecture, parameters = _architecture(settings)
    features = parameters.pop(_FINE, FINE_FEATURES)
    finer = math.prod(settings.upsample)
    try:
        if finer == 1:
            return architecture.build(in_channels, out_channels, parameters)
        backbone = architecture.build(in_channels, features * finer, parameters)
        return SuperResolved(backbone, settings.upsample, in_channels, features, out_channels)
    except (TypeError, ValueError, LookupError, NotImplementedError, AssertionError) as error:
        raise ModelError(f"network '{settings.name}': cannot be built with {parameters}: {error}.") from None


def divisor_of(settings: NetworkSettings) -> IntTriple:
    """The multiple (z, y, x) that every edge of the network's input must be of."""
    architecture, parameters = _architecture(settings)
    return architecture.divisor(parameters)


def keep_channels(network: nn.Module, settings: NetworkSettings, channels: list[int]) -> nn.Module:
    """Cut a network's last convolution down to some output channels, in place, and return the network.

    What stays computes exactly what it did.
    """
    architecture, parameters = _architecture(settings)
    finer = math.prod(settings.upsample) > 1
    layer = network.get_submodule("output" if finer else architecture.output_layer)
    if not isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
        raise ModelError(f"network '{settings.name}': its output layer is a {type(layer).__name__}.")
    axis = 1 if isinstance(layer, nn.ConvTranspose3d) else 0
    cells = 1 if finer else architecture.fold(parameters) ** 3
    kept = [channel * cells + cell for channel in channels for cell in range(cells)]
    index = torch.tensor(kept, device=layer.weight.device)
    layer.weight = nn.Parameter(layer.weight.detach().index_select(axis, index))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach().index_select(0, index))
    layer.out_channels = len(kept)
    return network
