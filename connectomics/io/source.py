"""What a reader of one format hands over: an array, its axes, and what its file says of space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.io.volume import ArrayLike


@dataclass(frozen=True)
class Source:
    """An array as its file holds it, before it is arranged as (c, z, y, x) and placed.

    Attributes
    ----------
    array : ArrayLike
        Lazily read by a full tuple of slices.
    axes : str
        One letter an axis, in the array's own order, such as ``"tczyx"`` or ``"xyz"``.
    name : str
        File and data set, for messages.
    format : str
        Such as ``"OME-Zarr 0.5"``.
    voxel_size, offset : sequence of float, optional
        nm, zyx, as far as the file states them; the offset is the low corner of voxel 0.
    chunks, shards : sequence of int, optional
        One number an axis, in the array's own order.
    levels : int
        Resolutions in the file.
    attributes : mapping
        Own attributes.
    labels : bool
        True where the file says that it holds labels.
    """

    array: ArrayLike
    axes: str
    name: str
    format: str
    voxel_size: Sequence[float] | None = None
    offset: Sequence[float] | None = None
    chunks: Sequence[int] | None = None
    shards: Sequence[int] | None = None
    levels: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)
    labels: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """Voxels along each axis, by letter."""
        return dict(zip(self.axes, (int(n) for n in self.array.shape), strict=True))


class Arranged:
    """A read-only view of an array with its axes in another order, and axes of length 1 left out."""

    def __init__(self, array: ArrayLike, axes: str, wanted: str) -> None:
        self._array = array
        self._axes = axes
        self._wanted = wanted
        self.shape: tuple[int, ...] = tuple(array.shape[axes.index(axis)] for axis in wanted)
        self.dtype = array.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read by a tuple of slices in the wanted order."""
        by_axis = dict(zip(self._wanted, key, strict=True))
        data = np.asarray(self._array[tuple(by_axis.get(axis, slice(0, 1)) for axis in self._axes)])
        dropped = tuple(i for i, axis in enumerate(self._axes) if axis not in by_axis)
        kept = [axis for axis in self._axes if axis in by_axis]
        return data.squeeze(dropped).transpose([kept.index(axis) for axis in self._wanted])


def default_axes(dimensions: int) -> str:
    """Axes of an array whose file names none: the last are z, y, x, before them c, then t."""
    return "tczyx"[-dimensions:] if dimensions <= 5 else "?" * (dimensions - 5) + "tczyx"
