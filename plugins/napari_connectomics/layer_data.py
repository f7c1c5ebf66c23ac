"""From the package's layers to the tuples that napari makes its layers from."""

from typing import Any

import numpy as np

from connectomics.pipeline.layers import Layer

LayerData = tuple[Any, dict[str, Any], str]
"""Data, keyword arguments, and the kind of napari layer."""

KEY = "connectomics"
"""Where a napari layer's metadata keeps what the package knows of it."""

ERROR_COLOURS = {"split": "#ffb000", "merge": "#dc267f"}
"""As in the package's pictures; told apart by the colour-blind too."""

UNITS = ("nm", "nm", "nm")


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
    said |= {"colormap": style.colours, "blending": style.blending, "contrast_limits": list(style.limits or (0, 255))}
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


def _points(layer: Layer) -> LayerData:
    kinds = [str(kind) for kind in layer.features.get("kind", [])]
    colours = [ERROR_COLOURS.get(kind, "#648fff") for kind in kinds] or "#648fff"
    said = _common(layer) | {
        "features": {name: np.asarray(column) for name, column in layer.features.items()},
        "size": 200.0,
        "face_color": colours,
        "border_color": "white",
        "symbol": "disc",
        "out_of_slice_display": True,
        "units": UNITS,
    }
    return layer.points, said, "points"


def _skeletons(layer: Layer) -> LayerData:
    """Edges as vectors: one array for a million of them, where shapes or tracks would slow napari down."""
    starts, ends = layer.lines[:, 0], layer.lines[:, 1]
    said = _common(layer) | {
        "features": {name: np.asarray(column) for name, column in layer.features.items()},
        "edge_width": 40.0,
        "edge_color": "#00e5ff",
        "vector_style": "line",
        "out_of_slice_display": True,
        "units": UNITS,
    }
    return np.stack([starts, ends - starts], axis=1), said, "vectors"
