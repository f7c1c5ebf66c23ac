"""One thing to see: a volume, points or lines, with its place and how it is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.io.lazy import LazyArray
from connectomics.io.volume import Volume
from connectomics.pipeline.layer_styles import Kind, Style
from connectomics.roi import Roi, Triple

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


def on_one_grid(layers: list[Layer]) -> list[Layer]:
    """The layers with their points and lines counted in the finest voxels among their volumes."""
    placed = [layer for layer in layers if layer.volumes]
    if not placed:
        return layers
    finest = min(placed, key=lambda layer: np.prod(layer.voxel_size))
    grid = (finest.voxel_size, finest.offset)
    return [layer if layer.volumes else replace(layer, grid=grid) for layer in layers]
