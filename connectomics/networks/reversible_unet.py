"""A U-Net whose levels are reversible: memory flat in depth, so larger crops or deeper networks fit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from connectomics.networks.bottleneck import BlockShape, VoxelNorm, make_function
from connectomics.networks.reversible import Coupling, Pair, ReversibleSequence


@dataclass(frozen=True)
class ReversibleShape:
    """Parameters of a `ReversibleUNet`.

    Attributes
    ----------
    filters : sequence of int
        Channels of each level, the finest first; even, since a level works on two halves.
    blocks : int or sequence of int
        Reversible blocks of each level, on the way down and again on the way up.
    strides : sequence, optional
        Step into each level, along all axes or zyx; the first is 1. Default: 1, then 2.
    block, expansion, group_width : str, int, int, the last optional
        As `kind`, `expansion` and `group_width` of `BlockShape`. Plain by default: depthwise convolutions
        are slow on a CPU, above all their gradients (scripts/benchmark_reversible.py).
    dropout : float
        Share of the channels dropped in the blocks of the bottom and of the way up, the finest level apart.
    reversible : bool
        Compute activations again in the backward pass, from the outputs. False: the twin that stores them.
    checkpoint : bool
        Store inputs alone where reversibility does not reach: changes of level and the head; with
        reversible = false, the functions of every block, too (plain activation checkpointing).
    """

    filters: Sequence[int] = (32, 64, 128, 256)
    blocks: int | Sequence[int] = 2
    strides: Sequence[int | Sequence[int]] | None = None
    block: Literal["inverted", "plain"] = "plain"
    expansion: int = 1
    group_width: int | None = None
    dropout: float = 0.0
    reversible: bool = True
    checkpoint: bool = True

    def __post_init__(self) -> None:
        if not self.filters or any(n < 2 or n % 2 for n in self.filters):
            raise ValueError(f"filters must be even numbers, got {list(self.filters)}")
        if len(self.steps) != len(self.filters):
            raise ValueError(f"{len(self.steps)} strides for {len(self.filters)} levels")
        if set(self.steps[0]) != {1}:
            raise ValueError("the first stride must be 1")
        if len(self.depths) != len(self.filters) or min(self.depths) < 1:
            raise ValueError(f"blocks must be one or more on each of {len(self.filters)} levels")

    @property
    def steps(self) -> list[tuple[int, ...]]:
        """Stride into each level, zyx."""
        given = self.strides or [1, *[2] * (len(self.filters) - 1)]
        return [(step,) * 3 if isinstance(step, int) else tuple(step) for step in given]

    @property
    def depths(self) -> list[int]:
        """Blocks of each level."""
        one = isinstance(self.blocks, int)
        return [self.blocks] * len(self.filters) if one else list(self.blocks)  # type: ignore[arg-type,list-item]


class ReversibleUNet(nn.Module):
    """U-Net of reversible levels; a skip is added to what comes up.

    Parameters
    ----------
    in_channels, out_channels
        Channels of input and output.
    shape
        Its parameters.
    """

    def __init__(self, in_channels: int, out_channels: int, shape: ReversibleShape) -> None:
        super().__init__()
        filters, steps, dropped = shape.filters, shape.steps, shape.dropout
        inner = range(len(filters) - 1)
        self.checkpointed = shape.checkpoint
        self.stem = nn.Conv3d(in_channels, filters[0], 3, padding=1)
        self.down = nn.ModuleList(_level(shape, i, 0.0) for i in inner)
        self.shrink = nn.ModuleList(_Shrink(filters[i], filters[i + 1], steps[i + 1]) for i in inner)
        self.bottom = _level(shape, len(filters) - 1, dropped)
        self.grow = nn.ModuleList(_Grow(filters[i + 1], filters[i], steps[i + 1]) for i in reversed(inner))
        self.up = nn.ModuleList(_level(shape, i, dropped if i else 0.0) for i in reversed(inner))
        self.head = _Head(filters[0], out_channels)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(n, in, z, y, x) -> (n, out, z, y, x) logits; edges are multiples of the strides' product."""
        pair = _halves(self.stem(image))
        skips: list[Pair] = []
        for level, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(level(*pair))
            pair = self._change(shrink, *skips[-1])
        pair = self.bottom(*pair)
        for grow, level in zip(self.grow, self.up, strict=True):
            pair = level(*self._change(grow, *pair, *skips.pop()))
        answer: torch.Tensor = self._change(self.head, *pair)
        return answer

    def _change(self, change: nn.Module, *features: torch.Tensor) -> Any:
        """Where reversibility does not reach; what it reads is stored anyway, as the end of a level."""
        if self.checkpointed and self.training and torch.is_grad_enabled():
            return checkpoint(change, *features, use_reentrant=False, preserve_rng_state=False)
        return change(*features)


def _level(shape: ReversibleShape, number: int, dropout: float) -> ReversibleSequence:
    depth, half = shape.depths[number], shape.filters[number] // 2
    made = BlockShape(shape.block, shape.expansion, shape.group_width, dropout, 1 / math.sqrt(depth))
    couplings = [Coupling(make_function(half, made), make_function(half, made)) for _ in range(depth)]
    return ReversibleSequence(couplings, shape.reversible, shape.checkpoint)


def _halves(features: torch.Tensor) -> Pair:
    """Two halves of the channels; under autocast in float32, whose rounding alone is left to undo."""
    kind = features.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        features = features.float()
    x1, x2 = features.chunk(2, 1)
    return x1, x2


class _Shrink(nn.Module):
    """To the next coarser level."""

    def __init__(self, fine: int, coarse: int, step: Sequence[int]) -> None:
        super().__init__()
        self.norm = VoxelNorm(fine)
        self.conv = nn.Conv3d(fine, coarse, tuple(step), tuple(step))  # type: ignore[arg-type]

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> Pair:
        return _halves(self.conv(self.norm(torch.cat((x1, x2), 1))))


class _Grow(nn.Module):
    """To the next finer level, whose features on the way down are added."""

    def __init__(self, coarse: int, fine: int, step: Sequence[int]) -> None:
        super().__init__()
        self.norm = VoxelNorm(coarse)
        self.conv = nn.ConvTranspose3d(coarse, fine, tuple(step), tuple(step))  # type: ignore[arg-type]

    def forward(self, x1: torch.Tensor, x2: torch.Tensor, skip1: torch.Tensor, skip2: torch.Tensor) -> Pair:
        u1, u2 = _halves(self.conv(self.norm(torch.cat((x1, x2), 1))))
        return u1 + skip1, u2 + skip2


class _Head(nn.Module):
    """From features to logits."""

    def __init__(self, features: int, out_channels: int) -> None:
        super().__init__()
        self.norm = VoxelNorm(features)
        self.conv = nn.Conv3d(features, out_channels, 1)

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.conv(self.norm(torch.cat((x1, x2), 1)))
        return logits
