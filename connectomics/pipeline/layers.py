"""What there is to see at a place: the layers of an output, of any volume, of skeletons or of errors."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from connectomics.blockwise.ledger import Ledger
from connectomics.errors import ConnectomicsError, InputError
from connectomics.io.locate import Location, locate
from connectomics.io.ome_display import read_display
from connectomics.io.place import Place, RemotePath, as_place, subfolders
from connectomics.io.skeletons import Skeletons, read_skeletons
from connectomics.pipeline.error_list import is_error_list, read_errors
from connectomics.pipeline.layer import Layer, on_one_grid
from connectomics.pipeline.layer_styles import height, seen_at_first, style_of
from connectomics.pipeline.volume_layers import volume_layers

log = logging.getLogger(__name__)

MANY_SKELETONS = 5000
"""Files of a folder of skeletons beside a volume up to which it is opened unasked."""

_HIDDEN = ("scratch/", "region_graph/", "cascade/", "labels/fragments")
"""Parts of an output that are no layers of their own."""

TRUTH = "labels/truth"


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
        return volume_layers(found.name, "", voxel_size) + _nested_labels(found, voxel_size)
    return _output_layers(found, parts, voxel_size)


def _members(found: Location) -> list[str]:
    if found.format != "zarr":
        return []
    from connectomics.io.zarr_source import members

    return [name for name in members(found) if not name.startswith(_HIDDEN)]


def _output_layers(found: Location, parts: list[str], voxel_size: Sequence[float] | None) -> list[Layer]:
    """The parts of a group, its input, and what lies beside them, in order."""
    layers = [layer for name in parts for layer in volume_layers(f"{found.name}/{name}", name, voxel_size)]
    there = {layer.location for layer in layers}
    beside = [as_place(found.name)]
    for made_from in inputs_of(as_place(found.name)):
        if made_from in there:
            continue
        there.add(made_from)
        layers += _optional(lambda made_from=made_from: volume_layers(made_from, "input", voxel_size))
        containers = _containers(made_from)
        layers += [one for container in containers for one in _truth_in(container, voxel_size)]
        beside += containers
    layers += [layer for folder in beside for layer in _beside(folder)]
    layers.sort(key=lambda layer: height(layer.role))
    styles = seen_at_first([layer.role for layer in layers], [layer.style for layer in layers])
    return on_one_grid([replace(layer, style=style) for layer, style in zip(layers, styles, strict=True)])


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
    return _optional(lambda: volume_layers(f"{container}/{TRUTH}", TRUTH, voxel_size))


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
        for layer in volume_layers(f"{found.name}/labels/{name}", f"labels/{name}", voxel_size)
    ]


def _skeleton_layer(location: str | Place, skeletons: Skeletons) -> Layer:
    ends = skeletons.nodes[skeletons.edges]
    features = {"skeleton": skeletons.ids[skeletons.edges[:, 0]]}
    style = style_of("skeletons", "skeletons")
    return Layer("skeletons", "skeletons", str(location), style, lines=ends, features=features)


def _errors_layer(location: str | Place) -> Layer:
    errors = read_errors(Path(str(location)))
    style = style_of("errors", "points")
    return Layer("errors", "errors", str(location), style, points=errors.places, features=errors.features)
