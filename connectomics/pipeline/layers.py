"""What there is to see at a place: the layers of an output, of any volume, of skeletons or of errors."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.ledger import Ledger
from connectomics.errors import ConnectomicsError, InputError
from connectomics.io.lazy import LazyArray
from connectomics.io.locate import Location, locate
from connectomics.io.ome_display import Channel, Display, read_display
from connectomics.io.opening import open_source, place
from connectomics.io.place import Place, RemotePath, as_place, subfolders
from connectomics.io.skeletons import Skeletons, read_skeletons
from connectomics.io.strided import thinned
from connectomics.io.volume import Volume
from connectomics.pipeline.error_list import is_error_list, read_errors
from connectomics.pipeline.layer_styles import Kind, Style, height, seen_at_first, style_of
from connectomics.roi import Roi, Triple

log = logging.getLogger(__name__)

SAMPLE_EDGE = 96
"""Edge of the box in the middle whose values set what is black and what is white."""

COARSE_EDGE = 256
"""Longest edge, voxels, of a coarser level that is made up for a volume that has none."""

MANY_SKELETONS = 5000
"""Files of a folder of skeletons beside a volume up to which it is opened unasked."""

_HIDDEN = ("scratch/", "region_graph/", "cascade/", "labels/fragments")
"""Parts of an output that are no layers of their own."""

TRUTH = "labels/truth"

_NAMES = {"prediction": "affinities", "input": "image", "xray": "X-ray", "em": "EM"}


UNIT_GRID: tuple[Triple, Triple] = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Layer:
    """One thing to see; nothing but metadata and a few voxels has been read.

    Attributes
    ----------
    name : str
        What a viewer calls it.
    role : str
        What it is of an output: "labels/segmentation", "uncertainty", "input" ...; "" of any other volume.
    location : str
        Where it was opened.
    style : Style
        How it is drawn.
    levels : tuple of LazyArray
        Of a volume, finest first.
    volumes : tuple of Volume
        The same with their place in the world.
    points : (n, 3) float64
        World positions, nm, zyx, of "points".
    lines : (n, 2, 3) float64
        Both ends of each edge of "skeletons", nm, zyx.
    features : mapping
        Columns, one value a point or line.
    grid : tuple
        Voxel size and offset, nm, zyx, of the voxels that points and lines are counted in: viewers step by
        them.
    label_colours : mapping
        Colours that the file gives single labels, red, green, blue and opacity 0..1.
    """

    name: str
    role: str
    location: str
    style: Style
    levels: tuple[LazyArray, ...] = ()
    volumes: tuple[Volume, ...] = ()
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    lines: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2, 3)))
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    grid: tuple[Triple, Triple] = UNIT_GRID
    label_colours: Mapping[int, tuple[float, ...]] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """ "image", "rgb", "labels", "points" or "skeletons"."""
        return self.style.kind

    @property
    def voxel_size(self) -> Triple:
        """nm, zyx, of the finest level."""
        return self.volumes[0].voxel_size

    @property
    def offset(self) -> Triple:
        """World position, nm, zyx, of the low corner of voxel 0 of the finest level."""
        return self.volumes[0].offset

    @property
    def roi(self) -> Roi:
        """The box that the volume fills, nm."""
        return self.volumes[0].roi


def open_layers(location: str | Place, voxel_size: Sequence[float] | None = None) -> list[Layer]:
    """Everything there is to see at a place, the lowest layer first.

    Parameters
    ----------
    location
        An output of `segment`, `translate` or `predict`, or a phantom: opened as a set, with the volume that
        it was made from where that is still there, and the skeletons (``NAME.skeletons``) and errors
        (``NAME.errors.csv``) that lie beside either; any other volume; skeletons; or the CSV file of errors
        that `score` writes.
    voxel_size
        nm, zyx, for volumes that state none.

    Raises
    ------
    InputError, FormatError, GeometryError
        There is nothing to see: no such path, damaged, or no voxel size known.
    """
    if is_error_list(location):
        return [_errors_layer(location)]
    try:
        found = locate(location)
        parts = _members(found)
    except InputError as not_a_volume:
        try:
            return [_skeleton_layer(location, read_skeletons(location))]
        except InputError:
            raise not_a_volume from None
    if not parts:
        return _volume_layers(found.name, "", voxel_size) + _nested_labels(found, voxel_size)
    return _output_layers(found, parts, voxel_size)


def _members(found: Location) -> list[str]:
    if found.format != "zarr":
        return []
    from connectomics.io.zarr_source import members

    return [name for name in members(found) if not name.startswith(_HIDDEN)]


def _output_layers(found: Location, parts: list[str], voxel_size: Sequence[float] | None) -> list[Layer]:
    """The parts of a group, its input, and what lies beside them, in order."""
    layers = [layer for name in parts for layer in _volume_layers(f"{found.name}/{name}", name, voxel_size)]
    there = {layer.location for layer in layers}
    beside = [as_place(found.name)]
    for made_from in inputs_of(as_place(found.name)):
        if made_from in there:
            continue
        there.add(made_from)
        layers += _optional(lambda made_from=made_from: _volume_layers(made_from, "input", voxel_size))
        containers = _containers(made_from)
        layers += [one for container in containers for one in _truth_in(container, voxel_size)]
        beside += containers
    layers += [layer for folder in beside for layer in _beside(folder)]
    layers.sort(key=lambda layer: height(layer.role))
    styles = seen_at_first([layer.role for layer in layers], [layer.style for layer in layers])
    return on_one_grid([replace(layer, style=style) for layer, style in zip(layers, styles, strict=True)])


def on_one_grid(layers: list[Layer]) -> list[Layer]:
    """The layers with their points and lines counted in the finest voxels among their volumes."""
    placed = [layer for layer in layers if layer.volumes]
    if not placed:
        return layers
    finest = min(placed, key=lambda layer: np.prod(layer.voxel_size))
    grid = (finest.voxel_size, finest.offset)
    return [layer if layer.volumes else replace(layer, grid=grid) for layer in layers]


def inputs_of(output: Place) -> list[str]:
    """The volumes that the runs on an output read, as their ledgers say."""
    found = []
    for command in subfolders(output / "ledger"):
        run = Ledger(command).noted("run")
        path = run.get("input", {}).get("path") if isinstance(run, dict) else None
        if path and path not in found:
            found.append(str(path))
    return found


def _containers(location: str) -> list[Place]:
    try:
        return [as_place(locate(location).container)]
    except ConnectomicsError:
        return []


def _truth_in(container: Place, voxel_size: Sequence[float] | None) -> list[Layer]:
    """The truth in the group that an input lies in, as phantoms have it."""
    if isinstance(container, RemotePath) or not (container / TRUTH).is_dir():
        return []
    return _optional(lambda: _volume_layers(f"{container}/{TRUTH}", TRUTH, voxel_size))


def _beside(container: Place) -> Iterator[Layer]:
    """Skeletons and errors that lie beside a group and bear its name."""
    if isinstance(container, RemotePath):
        return
    skeletons = container.with_suffix(".skeletons")
    if skeletons.is_dir():
        count = sum(1 for _ in skeletons.glob("*.swc"))
        if count <= MANY_SKELETONS:
            yield from _optional(lambda: [_skeleton_layer(skeletons, read_skeletons(skeletons))])
        else:
            log.warning("%s: %d skeletons are opened only when asked for.", skeletons, count)
    errors = container.with_suffix(".errors.csv")
    if errors.is_file():
        yield from _optional(lambda: [_errors_layer(errors)])


def _optional(open_: Any) -> list[Layer]:
    """What can be opened; what cannot is said and left out, since it was not asked for."""
    try:
        return list(open_())
    except ConnectomicsError as error:
        log.warning("not shown: %s", error)
        return []


def _nested_labels(found: Location, voxel_size: Sequence[float] | None) -> list[Layer]:
    """The label images that OME-Zarr keeps inside an image."""
    names = read_display(found.name).label_names
    return [
        layer
        for name in names
        for layer in _volume_layers(f"{found.name}/labels/{name}", f"labels/{name}", voxel_size)
    ]


def _volume_layers(location: str, role: str, voxel_size: Sequence[float] | None) -> list[Layer]:
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


def _skeleton_layer(location: str | Place, skeletons: Skeletons) -> Layer:
    ends = skeletons.nodes[skeletons.edges]
    features = {"skeleton": skeletons.ids[skeletons.edges[:, 0]]}
    style = style_of("skeletons", "skeletons")
    return Layer("skeletons", "skeletons", str(location), style, lines=ends, features=features)


def _errors_layer(location: str | Place) -> Layer:
    errors = read_errors(Path(str(location)))
    style = style_of("errors", "points")
    return Layer("errors", "errors", str(location), style, points=errors.places, features=errors.features)
