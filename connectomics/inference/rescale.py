"""Present a volume at another voxel size, read block by block, every block on one world-anchored grid."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import GeometryError
from connectomics.io.volume import Box, Volume
from connectomics.roi import IntTriple, Triple, triple


def read_rescaled(volume: Volume, voxel_size: Sequence[float]) -> Volume:
    """A lazy view of an image volume resampled linearly to another voxel size.

    The low corner stays where it is. Where voxels grow, the voxels that fall into one are averaged (weighted
    by overlap); where they shrink, centres are interpolated. A voxel's value depends on its place alone, so
    any blocks read from the view agree.

    Parameters
    ----------
    volume
        (z, y, x) or (c, z, y, x) image.
    voxel_size
        nm, zyx, of the view.

    Returns
    -------
    Volume
        Read-only, of the same dtype, covering every whole voxel that fits (at least one).

    Raises
    ------
    GeometryError
        A voxel size that is not positive.
    """
    target = triple(voxel_size, "voxel size")
    if min(target) <= 0:
        raise GeometryError(f"rescale: voxel size must be positive, got {target} nm.")
    view = RescaledArray(volume, target)
    return Volume(view, target, volume.offset, f"{volume.name} at {target} nm", None, None, volume.attributes)


_SLAB = 16
"""Source sections that are widened to float64 at once."""


class RescaledArray:
    """The array of a rescaled view; see `read_rescaled`."""

    def __init__(self, volume: Volume, voxel_size: Triple) -> None:
        self._volume = volume
        self._factor = [t / v for t, v in zip(voxel_size, volume.voxel_size, strict=True)]
        spatial = [max(1, math.floor(n / f + 1e-6)) for n, f in zip(volume.shape, self._factor, strict=True)]
        self.shape: tuple[int, ...] = (*volume.array.shape[:-3], *spatial)
        self.dtype = volume.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read by a tuple of slices with start and stop."""
        wanted = [slice(*s.indices(n)) for s, n in zip(key[-3:], self.shape[-3:], strict=True)]
        spans, weights = [], []
        for one, factor, size in zip(wanted, self._factor, self._volume.shape, strict=True):
            span, matrix = axis_weights(one, factor, size)
            spans.append(span)
            weights.append(matrix)
        box: Box = (spans[0], spans[1], spans[2])
        source = self._volume.read_box(box)
        # in float64, so that sums which differ by the cut of a block are rounded to one value; slab by slab,
        # for the source may have many times the voxels
        parts = [slice(a, a + _SLAB) for a in range(0, source.shape[-3], _SLAB)]
        data = sum(_along(-3, weights[0][:, z], source[..., z, :, :].astype(np.float64)) for z in parts)
        for axis in (-2, -1):
            data = _along(axis, weights[axis], data)
        return self._cast(data.astype(np.float32))[(*key[:-3], ...)]

    def _cast(self, data: NDArray[np.float32]) -> NDArray[Any]:
        if self.dtype.kind in "ui":
            limits = np.iinfo(self.dtype)
            return np.clip(np.rint(data), limits.min, limits.max).astype(self.dtype)
        return data.astype(self.dtype)


def _along(axis: int, matrix: NDArray[np.float64], data: Any) -> Any:
    return np.moveaxis(np.tensordot(matrix, data, axes=(1, axis)), 0, axis)


def axis_weights(wanted: slice, factor: float, size: int) -> tuple[slice, NDArray[np.float64]]:
    """Which source voxels make the wanted ones along one axis, and with what weights.

    Parameters
    ----------
    wanted
        Output voxels.
    factor
        Source voxels per output voxel.
    size
        Source voxels along the axis.

    Returns
    -------
    span
        Source voxels needed.
    weights
        (outputs, sources) float64; each row sums to 1.

    Examples
    --------
    >>> axis_weights(slice(0, 2), 2.0, 4)[1].tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    index = np.arange(wanted.start, wanted.stop)
    centre = (index + 0.5) * factor - 0.5
    half = max(factor, 1.0)
    low = int(max(0, min(size - 1, math.floor(centre[0] - half))))
    high = int(min(size, max(low + 1, math.ceil(centre[-1] + half) + 1)))
    source = np.arange(low, high)
    if factor >= 1:
        edges_low, edges_high = index * factor, (index + 1) * factor
        overlap = np.minimum(edges_high[:, None], source + 1) - np.maximum(edges_low[:, None], source)
        weights = np.clip(overlap, 0, None)
        weights[weights < 1e-9 * factor] = 0
    else:
        inside = np.clip(centre, 0, size - 1)
        weights = np.clip(1 - np.abs(inside[:, None] - source), 0, None)
    used = np.flatnonzero(weights.any(axis=0))
    first, last = int(used[0]), int(used[-1]) + 1
    weights = weights[:, first:last]
    weights = weights / weights.sum(axis=1, keepdims=True)
    return slice(low + first, low + last), weights


def shape_at(volume: Volume, voxel_size: Sequence[float]) -> IntTriple:
    """Voxels (zyx) that the volume has at another voxel size."""
    return read_rescaled(volume, voxel_size).shape
