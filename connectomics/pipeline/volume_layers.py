"""The layers of one volume: one, or one a channel, each with its levels and as the file asks to be shown."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from connectomics.io.lazy import LazyArray
from connectomics.io.ome_display import Channel, Display, read_display
from connectomics.io.opening import open_source, place
from connectomics.io.strided import thinned
from connectomics.io.volume import Volume
from connectomics.pipeline.layer import Layer
from connectomics.pipeline.layer_styles import style_of

SAMPLE_EDGE = 96
"""Edge of the box in the middle whose values set what is black and what is white."""

COARSE_EDGE = 256
"""Longest edge, voxels, of a coarser level that is made up for a volume that has none."""

_NAMES = {"prediction": "affinities", "input": "image", "xray": "X-ray", "em": "EM"}


def volume_layers(location: str, role: str, voxel_size: Sequence[float] | None) -> list[Layer]:
    """The layers of one volume: one, or one a channel."""
    source = open_source(location, voxel_size)
    sources = [source, *(open_source(location, voxel_size, level=i) for i in range(1, source.levels))]
    volumes = _with_coarser(tuple(place(one, voxel_size, channels=True) for one in sources))
    display = read_display(location)
    name = _NAMES.get(role) or role.rpartition("/")[2] or display.name or Path(source.name).name
    if volumes[0].channels and ("offsets" in volumes[0].attributes or role == "affinities"):
        levels = tuple(LazyArray(volume, rgb=True) for volume in volumes)
        return [Layer(name, role, location, style_of(role, "rgb"), levels, volumes)]
    if _is_labels(volumes[0], role, display):
        levels = tuple(LazyArray(volume) for volume in volumes)
        style = style_of(role, "labels")
        return [Layer(name, role, location, style, levels, volumes, label_colours=display.colours)]
    return [
        _channel_layer(name, role, location, volumes, channel, display)
        for channel in range(volumes[0].channels or 1)
    ]


def _with_coarser(volumes: tuple[Volume, ...]) -> tuple[Volume, ...]:
    """The levels, and a coarser one where there is none: viewers draw it in 3-D and as a thumbnail."""
    shape = volumes[0].shape
    if len(volumes) > 1:
        return volumes
    factor = 2 ** max(1, math.ceil(math.log2(max(shape) / COARSE_EDGE)))
    step = tuple(min(factor, n) for n in shape)
    return (*volumes, thinned(volumes[0], (step[0], step[1], step[2])))


def _channel_layer(
    name: str, role: str, location: str, volumes: tuple[Volume, ...], channel: int, display: Display
) -> Layer:
    said = display.channels[channel] if channel < len(display.channels) else Channel()
    many = (volumes[0].channels or 1) > 1
    levels = tuple(LazyArray(volume, channel=channel) for volume in volumes)
    style = style_of(role, "image")
    style = replace(
        style,
        colours=said.colour or style.colours,
        limits=said.limits or style.limits or sample_limits(levels[-1]),
        blending="additive" if many else style.blending,
        visible=style.visible and said.visible,
    )
    shown = said.name or (f"{name} {channel}" if many else name)
    return Layer(shown, role, location, style, levels, volumes)


def _is_labels(volume: Volume, role: str, display: Display) -> bool:
    if volume.channels is not None or volume.dtype.kind not in "uib":
        return False
    return (
        display.labels or role.startswith("labels/") or volume.dtype.itemsize >= 4 or volume.dtype.kind == "b"
    )


def sample_limits(array: LazyArray) -> tuple[float, float]:
    """What to show as black and as white: the 0.5 and 99.5 percentiles of a box in the middle.

    Parameters
    ----------
    array
        The coarsest level.
    """
    starts = [max(0, (n - SAMPLE_EDGE) // 2) for n in array.shape]
    box = tuple(slice(a, min(a + SAMPLE_EDGE, n)) for a, n in zip(starts, array.shape, strict=True))
    values = np.asarray(array[box], np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    return (low, high) if high > low else (low, low + 1.0)
