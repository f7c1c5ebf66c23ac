"""The height map of the watershed: integer distance to the boundary, smoothed, exact with its context."""

from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.roi import IntTriple
from connectomics.segmentation.distance import clipped_squared_distance
from connectomics.segmentation.pointers import OUTSIDE
from connectomics.segmentation.settings import SegmentationSettings

Id = TypeVar("Id", np.uint32, np.uint64)

SCALE = 64
"""Height steps per voxel of distance; with three smoothing passes (64 each) still within int32."""


@njit(cache=True, nogil=True)
def inside_mask(affinities, threshold, at_face):  # type: ignore[no-untyped-def]
    """Voxels whose mean nearest-neighbour affinity is above `threshold` (0..255).

    At the volume's lower faces (`at_face`, per axis) the channel without a partner is left out.
    """
    _, depth, height, width = affinities.shape
    mask = np.empty((depth, height, width), np.bool_)
    for z in range(depth):
        use_z = not (at_face[0] and z == 0)
        for y in range(height):
            use_y = not (at_face[1] and y == 0)
            for x in range(width):
                use_x = not (at_face[2] and x == 0)
                total, n = 0, 0
                if use_z:
                    total += affinities[0, z, y, x]
                    n += 1
                if use_y:
                    total += affinities[1, z, y, x]
                    n += 1
                if use_x:
                    total += affinities[2, z, y, x]
                    n += 1
                mask[z, y, x] = total > threshold * n
    return mask


def inside_of(
    affinities: NDArray[np.uint8], corner: IntTriple, settings: SegmentationSettings
) -> NDArray[np.bool_]:
    """Voxels inside a cell, as `SegmentationSettings.boundary_threshold` says; each depends on itself alone.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, nearest neighbours first.
    corner
        Voxel of the whole volume at which the array starts.
    settings
        Holds the threshold.
    """
    at_face = np.array([c == 0 for c in corner])
    mask: NDArray[np.bool_] = inside_mask(affinities, settings.boundary_threshold * 255, at_face)
    return mask


def outlined(
    labels: NDArray[Id], affinities: NDArray[np.uint8], corner: IntTriple, outline: float
) -> NDArray[Id]:
    """Labels that keep only voxels inside a cell, as `SegmentationSettings.outline` says.

    Parameters
    ----------
    labels
        (z, y, x).
    affinities
        (c, z, y, x) uint8 of the same box, nearest neighbours first.
    corner
        Voxel of the whole volume at which the arrays start.
    outline
        0 to 1; 0 keeps everything.
    """
    if not outline:
        return labels
    at_face = np.array([c == 0 for c in corner])
    return np.where(inside_mask(affinities, outline * 255, at_face), labels, labels.dtype.type(0))


def height_map(
    affinities: NDArray[np.uint8], corner: IntTriple, settings: SegmentationSettings
) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """Height and squared distance of every voxel, in arrays with a rim of one voxel.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8.
    corner
        Voxel of the whole volume at which the array starts.
    settings
        Threshold, clips and smoothing.

    Returns
    -------
    heights
        (z + 2, y + 2, x + 2) int32: above 0 inside, minus the squared distance to the inside where
        fragments may grow, `OUTSIDE` elsewhere and in the rim.
    squared
        Same shape, int16: squared distance to the boundary, voxels, clipped at `max_distance` squared.
    """
    mask = inside_of(affinities, corner, settings)
    squared = clipped_squared_distance(mask, settings.max_distance)
    steps = np.arange(settings.max_distance**2 + 1)
    table = np.round(SCALE * np.sqrt(steps)).astype(np.int32)
    heights = table[squared]
    for _ in range(settings.smoothing):
        heights = _binomial(heights)
    np.logical_not(mask, out=mask)
    outside = clipped_squared_distance(mask, settings.grow + 1)
    return _combine(heights, squared, outside, settings.grow**2)


@njit(cache=True, nogil=True)
def _binomial(values):  # type: ignore[no-untyped-def]
    """One [1 2 1] pass along each axis; edges repeat. Sums grow by 64: nothing is rounded."""
    depth, height, width = values.shape
    result = np.empty_like(values)
    rows = np.empty((height, width), values.dtype)
    columns = np.empty((height, width), values.dtype)
    for z in range(depth):
        below, above = values[max(z - 1, 0)], values[min(z + 1, depth - 1)]
        here = values[z]
        for y in range(height):
            for x in range(width):
                rows[y, x] = below[y, x] + 2 * here[y, x] + above[y, x]
        for y in range(height):
            up, down = max(y - 1, 0), min(y + 1, height - 1)
            for x in range(width):
                columns[y, x] = rows[up, x] + 2 * rows[y, x] + rows[down, x]
        for y in range(height):
            row = columns[y]
            for x in range(1, width - 1):
                result[z, y, x] = row[x - 1] + 2 * row[x] + row[x + 1]
            last = width - 1
            result[z, y, 0] = 3 * row[0] + row[min(1, last)]
            result[z, y, last] = 3 * row[last] + row[max(last - 1, 0)]
    return result


@njit(cache=True, nogil=True)
def _combine(heights, squared, outside, grow_squared):  # type: ignore[no-untyped-def]
    depth, height, width = heights.shape
    combined = np.full((depth + 2, height + 2, width + 2), OUTSIDE, np.int32)
    padded = np.zeros(combined.shape, np.int16)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if squared[z, y, x] > 0:
                    combined[z + 1, y + 1, x + 1] = heights[z, y, x]
                    padded[z + 1, y + 1, x + 1] = squared[z, y, x]
                elif outside[z, y, x] <= grow_squared:
                    combined[z + 1, y + 1, x + 1] = -outside[z, y, x]
    return combined, padded
