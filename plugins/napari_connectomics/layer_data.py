"""From the package's layers to the tuples that napari makes its layers from."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.pipeline.layer import Layer
from connectomics.roi import Triple

LayerData = tuple[Any, dict[str, Any], str]
"""Data, keyword arguments, and the kind of napari layer."""

KEY = "connectomics"
"""Where a napari layer's metadata keeps what the package knows of it."""

ERROR_COLOURS = {"split": "#ffb000", "merge": "#dc267f"}
"""As in the package's pictures; told apart by the colour-blind too."""

UNITS = ("nm", "nm", "nm")

POINT_SIZE, EDGE_WIDTH = 6.0, 1.2
"""Of points and of skeletons, in voxels."""

MANY_PIECES = 2_000_000
"""Pieces of skeletons up to which they are drawn in every section."""

POINT_STYLE: dict[str, Any] = {"border_color": "white", "symbol": "disc"}


def layer_data(layer: Layer) -> LayerData:
    """What ``viewer.add_layer`` needs of one layer."""
    make = {"points": _points, "skeletons": _skeletons, "labels": _labels, "rgb": _rgb, "image": _image}
    return make[layer.kind](layer)


def placed(layer: Layer) -> dict[str, Any]:
    """Where a volume lies: napari places the centre of voxel 0, the package its low corner."""
    centre = [o + v / 2 for o, v in zip(layer.offset, layer.voxel_size, strict=True)]
    return {"scale": list(layer.voxel_size), "translate": centre, "units": UNITS}


def _common(layer: Layer) -> dict[str, Any]:
    about = {"location": layer.location, "role": layer.role, "layer": layer}
    style = layer.style
    return {
        "name": layer.name,
        "visible": style.visible,
        "opacity": style.opacity,
        "metadata": {KEY: about},
    }


def _volume(layer: Layer) -> tuple[Any, dict[str, Any]]:
    # as multiscale even where there is one level: napari then reads what is in view, not whole planes
    return list(layer.levels), _common(layer) | placed(layer) | {"multiscale": True}


def _image(layer: Layer) -> LayerData:
    data, said = _volume(layer)
    style = layer.style
    said |= {
        "colormap": style.colours,
        "blending": style.blending,
        "contrast_limits": list(style.limits or (0, 255)),
    }
    return data, said, "image"


def _rgb(layer: Layer) -> LayerData:
    data, said = _volume(layer)
    return data, said | {"rgb": True}, "image"


def _labels(layer: Layer) -> LayerData:
    data, said = _volume(layer)
    if layer.label_colours:
        colours: dict[int | None, Any] = {None: np.array([0.5, 0.5, 0.5, 1.0]), 0: np.zeros(4)}
        said["colormap"] = colours | {label: np.array(rgba) for label, rgba in layer.label_colours.items()}
    return data, said, "labels"


def in_voxels(points: NDArray[np.float64], grid: tuple[Triple, Triple]) -> NDArray[np.float64]:
    """World positions (..., 3), nm, as napari counts voxels: the centre of voxel 0 is 0."""
    voxel_size, offset = grid
    return (points - np.asarray(offset)) / np.asarray(voxel_size) - 0.5


def on_grid(grid: tuple[Triple, Triple]) -> dict[str, Any]:
    """Where points that are counted in voxels lie: on the grid, so that napari's slider steps by voxels."""
    voxel_size, offset = grid
    centre = [o + v / 2 for o, v in zip(offset, voxel_size, strict=True)]
    return {"scale": list(voxel_size), "translate": centre, "units": UNITS}


def _points(layer: Layer) -> LayerData:
    kinds = [str(kind) for kind in layer.features.get("kind", [])]
    said = _common(layer) | on_grid(layer.grid) | POINT_STYLE
    said |= {
        "features": {name: np.asarray(column) for name, column in layer.features.items()},
        "size": POINT_SIZE,
        "face_color": [ERROR_COLOURS.get(kind, "#648fff") for kind in kinds] or "#648fff",
    }
    return in_voxels(layer.points, layer.grid), said, "points"


def _skeletons(layer: Layer) -> LayerData:
    """Edges as vectors: one array for a million of them, where shapes or tracks would slow napari down."""
    ends, edge = pieces(in_voxels(layer.lines, layer.grid))
    said = _common(layer) | on_grid(layer.grid)
    said |= {
        "features": {name: np.asarray(column)[edge] for name, column in layer.features.items()},
        "edge_width": EDGE_WIDTH,
        "edge_color": "#00e5ff",
        "vector_style": "line",
    }
    return np.stack([ends[:, 0], ends[:, 1] - ends[:, 0]], axis=1), said, "vectors"


def pieces(lines: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Lines (n, 2, 3) in pieces of a voxel at most, and the line of each: a section shows those in it."""
    lengths = np.abs(lines[:, 1] - lines[:, 0]).max(axis=1, initial=0)
    counts = np.maximum(1, np.ceil(lengths)).astype(np.int64)
    if counts.sum() > MANY_PIECES:
        return lines, np.arange(len(lines))
    line = np.repeat(np.arange(len(lines)), counts)
    step = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
    along = (lines[:, 1] - lines[:, 0])[line] / counts[line, None]
    starts = lines[line, 0] + along * step[:, None]
    return np.stack([starts, starts + along], axis=1), line
