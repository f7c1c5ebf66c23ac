"""Which output channels belong to which head."""

from collections.abc import Sequence
from typing import Any

from connectomics.errors import ModelError
from connectomics.networks.contract import Head

LOG_VARIANCE = (-8.0, 6.0)
"""Bounds within which a log_variance channel counts, in training, calibration and prediction alike."""


def head_slices(heads: Sequence[Head]) -> list[slice]:
    """The run of channels of each head, in order.

    Examples
    --------
    >>> near = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    >>> head_slices([Head(kind="affinities", offsets=near), Head(kind="lsd")])
    [slice(0, 3, None), slice(3, 13, None)]
    """
    slices, start = [], 0
    for head in heads:
        slices.append(slice(start, start + head.channels))
        start += head.channels
    return slices


def split_heads(output: Any, heads: Sequence[Head]) -> list[Any]:
    """Views of a network's output, one per head.

    Parameters
    ----------
    output
        (n, c, z, y, x) tensor or array, c the sum of the heads' channels.
    heads
        What the channels mean.

    Raises
    ------
    ModelError
        The output has another number of channels.
    """
    expected = sum(head.channels for head in heads)
    if output.shape[1] != expected:
        raise ModelError(f"network output: the heads need {expected} channels, got {output.shape[1]}.")
    return [output[:, part] for part in head_slices(heads)]


def lasting_channels(heads: Sequence[Head]) -> list[int]:
    """Indices of the channels that a shipped model keeps (those of no auxiliary head)."""
    kept = [part for part, head in zip(head_slices(heads), heads, strict=True) if not head.auxiliary]
    return [channel for part in kept for channel in range(part.start, part.stop)]
