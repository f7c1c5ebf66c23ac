"""Surfaces of labelled objects, at a resolution that can be drawn."""

from collections.abc import Sequence
from typing import Any

import fastremap
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from connectomics.roi import triple


def longest_objects(
    labels: NDArray[Any], voxel_size: Sequence[float], n: int
) -> list[tuple[int, tuple[slice, ...]]]:
    """The `n` objects with the longest bounding boxes, nm along the diagonal, and their boxes.

    Parameters
    ----------
    labels
        (z, y, x) integers, 0 = background.
    voxel_size
        nm, zyx.
    n
        How many; fewer where there are not so many.
    """
    dense, names = fastremap.renumber(labels, in_place=False)
    ids = {new: old for old, new in names.items()}
    size = np.asarray(triple(voxel_size, "voxel size"))
    boxes = [(int(ids[i + 1]), box) for i, box in enumerate(ndimage.find_objects(dense)) if box is not None]

    lengths = [-float(np.linalg.norm([s.stop - s.start for s in box] * size)) for _, box in boxes]
    order = sorted(range(len(boxes)), key=lambda index: (lengths[index], boxes[index][0]))
    return [boxes[index] for index in order[:n]]


def surface(
    mask: NDArray[np.bool_], voxel_size: Sequence[float], smoothing: float = 1.0
) -> NDArray[np.float64]:
    """Triangles around an object.

    Parameters
    ----------
    mask
        (z, y, x), True inside.
    voxel_size
        nm, zyx.
    smoothing
        Width, in voxels, of the Gaussian that rounds the steps off.

    Returns
    -------
    ndarray of float64, (t, 3, 3)
        Corners (zyx, nm, from the low corner of the array) of each triangle; none when the object vanishes.
    """
    from skimage.measure import marching_cubes

    margin = 3
    solid = ndimage.gaussian_filter(np.pad(mask, margin).astype(np.float32), smoothing)
    level = min(0.5, 0.5 * float(solid.max()))
    if level <= 0:
        return np.zeros((0, 3, 3))
    size = np.asarray(triple(voxel_size, "voxel size"))
    corners, faces, _, _ = marching_cubes(solid, level, spacing=tuple(size))  # type: ignore[no-untyped-call]
    low, high = np.zeros(3), size * mask.shape
    corners = np.clip(corners - (margin - 0.5) * size, low, high)
    triangles: NDArray[np.float64] = corners[faces].astype(np.float64)
    return triangles


def normals(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (zyx) that point out of the object, one for each triangle of `surface`."""
    out = np.cross(triangles[:, 2] - triangles[:, 0], triangles[:, 1] - triangles[:, 0])
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def lit(facing: NDArray[np.float64], light: Sequence[float]) -> NDArray[np.float64]:
    """Brightness of surfaces with these normals, under a lamp in direction `light` (zyx) and faint light."""
    lamp = facing @ (np.asarray(light, float) / np.linalg.norm(light))
    brightness: NDArray[np.float64] = 0.62 + 0.42 * lamp + 0.2 * np.clip(lamp, 0, 1) ** 12
    return brightness
