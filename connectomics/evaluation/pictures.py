"""Pictures for reports: a slice beside its truth and its errors, and axons in three dimensions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.evaluation.colours import label_colours
from connectomics.evaluation.contingency import Contingency
from connectomics.evaluation.error_map import MERGE, MISSING, SPLIT, error_map
from connectomics.evaluation.surfaces import lit, longest_objects, normals, surface
from connectomics.roi import Triple, triple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ERROR_COLOURS",
    "ERROR_NAMES",
    "draw_axons_3d",
    "draw_axons_on",
    "draw_slice",
    "error_overlay",
    "grey_rgb",
    "label_colours",
    "over_raw",
]

ERROR_COLOURS = {SPLIT: (255, 176, 0), MERGE: (220, 38, 127), MISSING: (100, 143, 255)}
"""Red, green, blue of each error; told apart by the colour-blind too."""

_ELEVATION, _AZIMUTH = 24, -58
_VIEWER = np.array(
    [
        np.sin(np.radians(_ELEVATION)),
        np.cos(np.radians(_ELEVATION)) * np.sin(np.radians(_AZIMUTH)),
        np.cos(np.radians(_ELEVATION)) * np.cos(np.radians(_AZIMUTH)),
    ]
)
_LAMP = (0.8, -0.6, -0.1)

ERROR_NAMES = {
    name: "#" + bytes(ERROR_COLOURS[kind]).hex()
    for kind, name in ((SPLIT, "split"), (MERGE, "merge"), (MISSING, "missing"))
}
"""The colour of each error by its name, for legends."""


def draw_slice(
    raw: NDArray[Any],
    truth: NDArray[Any],
    segmentation: NDArray[Any],
    table: Contingency | None = None,
    title: str = "",
) -> "Figure":
    """Draw a slice four times: raw, truth, segmentation, errors.

    Parameters
    ----------
    raw
        (y, x) grey values.
    truth, segmentation
        (y, x) labels, 0 = background.
    table
        Counts over the whole volume, so that matches are those of the volume and not of the slice.
    title
        Written above.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig(path)``; no window is opened.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(14, 4.1), layout="constrained")
    axes = figure.subplots(1, 4)
    errors = error_map(segmentation, truth, table)
    _show(axes[0], grey_rgb(raw), "raw")
    _show(axes[1], over_raw(raw, truth), "truth")
    _show(axes[2], over_raw(raw, segmentation), "segmentation")
    _show(axes[3], error_overlay(raw, errors), "errors")
    patches = [Patch(color=colour, label=name) for name, colour in ERROR_NAMES.items()]
    axes[3].legend(handles=patches, loc="lower right", fontsize=8, framealpha=0.85)
    if title:
        figure.suptitle(title)
    return figure


def over_raw(raw: NDArray[Any], labels: NDArray[Any], strength: float = 0.6) -> NDArray[np.uint8]:
    """Label colours laid over grey values, (y, x, 3) uint8; background stays grey."""
    grey = grey_rgb(raw).astype(np.float64)
    mixed = (1 - strength) * grey + strength * label_colours(labels)
    return np.where((labels != 0)[..., None], mixed, grey).astype(np.uint8)


def error_overlay(raw: NDArray[Any], errors: NDArray[np.uint8], strength: float = 0.75) -> NDArray[np.uint8]:
    """Errors (see `error_map`) laid over grey values in `ERROR_COLOURS`, (y, x, 3) uint8."""
    picture = grey_rgb(raw).astype(np.float64)
    for kind, colour in ERROR_COLOURS.items():
        here = errors == kind
        picture[here] = (1 - strength) * picture[here] + strength * np.asarray(colour)
    return picture.astype(np.uint8)


def draw_axons_3d(labels: NDArray[Any], voxel_size: Sequence[float], n: int = 30) -> "Figure":
    """Draw the `n` longest objects in three dimensions, each in its colour of `label_colours`.

    Parameters
    ----------
    labels
        (z, y, x) integers, 0 = background; large volumes are drawn at reduced resolution.
    voxel_size
        nm, zyx.
    n
        How many objects.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig(path)``; no window is opened.

    Raises
    ------
    InputError
        `labels` is not three-dimensional.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), projection="3d")
    draw_axons_on(axes, labels, voxel_size, n)
    return figure


def draw_axons_on(
    axes: Any, labels: NDArray[Any], voxel_size: Sequence[float], n: int = 30, edge: int = 88
) -> None:
    """Draw the `n` longest objects on 3-D axes of a figure; see `draw_axons_3d`.

    Parameters
    ----------
    axes
        Made with ``projection="3d"``.
    labels, voxel_size, n
        As for `draw_axons_3d`.
    edge
        Voxels along the longest axis after reduction; time grows with its square.
    """
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    if labels.ndim != 3:
        raise InputError(f"labels: expected (z, y, x), got shape {labels.shape}.")
    size = np.asarray(triple(voxel_size, "voxel size"))
    extent = size * labels.shape
    step = np.maximum(1, np.round(extent.max() / edge / size)).astype(int)
    triangles, colours = _shaded(
        labels[:: step[0], :: step[1], :: step[2]], triple((size * step).tolist()), n
    )
    if len(triangles):
        shown = Poly3DCollection(triangles[..., ::-1], facecolors=colours, edgecolors=colours, linewidths=0.3)
        axes.add_collection3d(shown)
    axes.set(xlim=(0, extent[2]), ylim=(0, extent[1]), zlim=(0, extent[0]))
    axes.set_box_aspect(extent[::-1], zoom=1.0)
    axes.view_init(elev=_ELEVATION, azim=_AZIMUTH)
    axes.set_axis_off()


def _shaded(
    labels: NDArray[Any], voxel_size: Triple, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The triangles of the longest objects that face the viewer, and the colour of each under one lamp."""
    triangles, colours = [np.zeros((0, 3, 3))], [np.zeros((0, 3))]
    for name, box in longest_objects(labels, voxel_size, n):
        low = np.array([s.start for s in box]) * np.asarray(voxel_size)
        faces = surface(labels[box] == name, voxel_size, smoothing=0.8) + low
        base = label_colours(np.array([name], np.uint64))[0] / 255
        facing = normals(faces)
        seen = facing @ _VIEWER > -0.1
        triangles.append(faces[seen])
        colours.append(np.clip(base * lit(facing[seen], _LAMP)[:, None], 0, 1))
    return np.concatenate(triangles), np.concatenate(colours)


def grey_rgb(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values stretched from their 0.5 to their 99.5 percentile, (y, x, 3) uint8."""
    low, high = np.percentile(raw, (0.5, 99.5))
    scaled = np.clip((raw.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)
    return np.repeat(np.rint(255 * scaled).astype(np.uint8)[..., None], 3, axis=-1)


def _show(axes: "Axes", picture: NDArray[np.uint8], name: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(name, fontsize=10)
    axes.set_axis_off()
