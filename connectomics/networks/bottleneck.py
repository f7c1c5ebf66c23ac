"""What a reversible block adds to its other half: a norm of each voxel, then an inverted bottleneck."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

_SLOPE = 0.01
"""Of the leaky rectifier below 0, as in the other networks."""


class VoxelNorm(nn.Module):
    """Standardise the channels of each voxel, by that voxel alone; then a learnt gain and shift a channel.

    A voxel's result depends neither on the tile that it lies in (as with instance and group norm) nor on the
    batch (as with batch norm, whose running statistics a recomputed block would update twice).

    Parameters
    ----------
    channels
        Of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        # large beside the rounding of a reconstructed voxel, which a voxel of equal channels would amplify
        self.eps = 1e-3

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, c, z, y, x) -> the same shape; without a copy where channels lie innermost in memory."""
        last = features.permute(0, 2, 3, 4, 1)
        normed = functional.layer_norm(last, self.weight.shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 4, 1, 2, 3)


@dataclass(frozen=True)
class BlockShape:
    """How the functions of reversible blocks are made.

    Attributes
    ----------
    kind : str
        ``inverted``: 1^3 to `expansion` times the channels, 3^3, 1^3 back. ``plain``: 3^3 to `expansion`
        times the channels, 1^3 back.
    expansion : int
        Channels in the middle, over those outside.
    group_width : int
        Channels that one 3^3 filter reads: 1 is depthwise, 0 is all of them. Default: 1 for ``inverted``, 0
        for ``plain``.
    dropout : float
        Share of the middle's channels dropped in training.
    gain : float
        Scale of the last convolution's first weights: n functions are added up in a level, and their sum
        should stay about as large as what they are added to.
    """

    kind: Literal["inverted", "plain"] = "plain"
    expansion: int = 1
    group_width: int | None = None
    dropout: float = 0.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("inverted", "plain"):
            raise ValueError(f"block must be 'inverted' or 'plain', got {self.kind!r}")
        if self.expansion < 1 or (self.group_width or 0) < 0:
            raise ValueError("expansion must be at least 1 and group_width at least 0")


def make_function(channels: int, shape: BlockShape) -> nn.Sequential:
    """One function of a reversible block: (n, channels, z, y, x) -> the same shape.

    Every activation overwrites the convolution before it, so the middle is held once a convolution.

    Raises
    ------
    ValueError
        The channels are no multiple of the group's width.
    """
    middle = channels * shape.expansion
    spatial_in = middle if shape.kind == "inverted" else channels
    wanted = (1 if shape.kind == "inverted" else 0) if shape.group_width is None else shape.group_width
    width = wanted or spatial_in
    if spatial_in % width:
        raise ValueError(
            f"group_width {width} does not divide the {spatial_in} channels of a 3^3 convolution"
        )
    layers: list[nn.Module] = [VoxelNorm(channels)]
    if shape.kind == "inverted":
        layers += [nn.Conv3d(channels, middle, 1), nn.LeakyReLU(_SLOPE, inplace=True)]
    spatial = nn.Conv3d(spatial_in, middle, 3, padding=1, groups=spatial_in // width)
    layers += [spatial, nn.LeakyReLU(_SLOPE, inplace=True)]
    if shape.dropout:
        layers.append(nn.Dropout3d(shape.dropout))
    last = nn.Conv3d(middle, channels, 1)
    layers.append(last)
    for layer in layers:
        if isinstance(layer, nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, a=1.0 if layer is last else _SLOPE)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        last.weight.mul_(shape.gain / math.sqrt(2))
    return nn.Sequential(*layers)
