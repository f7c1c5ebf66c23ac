"""Every voxel climbs to a peak of the height map; a path that leaves the known zone ends as a link."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

OUTSIDE = np.int32(-(2**31))
"""Height of background and of the rim around the array: never climbed to."""


@njit(cache=True, nogil=True, inline="always")
def _best_neighbour(flat, voxel, steps):  # type: ignore[no-untyped-def]
    """The highest voxel of the 3x3x3 box; equal heights go to the later voxel."""
    best, height = voxel, flat[voxel]
    for k in range(13):  # earlier voxels must be strictly higher
        other = voxel - steps[k]
        if flat[other] > height:
            best, height = other, flat[other]
    # in ascending order, so that the last of equals wins
    for k in range(13):
        other = voxel + steps[k]
        if flat[other] >= height:
            best, height = other, flat[other]
    return best


@njit(cache=True, nogil=True)
def _clear_line(flat, shape, voxel, dz, dy, dx):  # type: ignore[no-untyped-def]
    """True when the straight line from `voxel` by (dz, dy, dx) stays inside (height above 0)."""
    n = max(abs(dz), abs(dy), abs(dx))
    for k in range(1, n):
        z = (2 * dz * k + n) // (2 * n)
        y = (2 * dy * k + n) // (2 * n)
        x = (2 * dx * k + n) // (2 * n)
        if flat[voxel + (z * shape[1] + y) * shape[2] + x] <= 0:
            return False
    return True


@njit(cache=True, nogil=True)
def _jump(flat, shape, voxel, reach):  # type: ignore[no-untyped-def]
    """The highest voxel within `reach` of a peak that is higher and in sight; the peak itself if none."""
    r = int(np.floor(np.sqrt(reach)))
    best, height = voxel, flat[voxel]
    z, y, x = voxel // (shape[1] * shape[2]), (voxel // shape[2]) % shape[1], voxel % shape[2]
    for dz in range(max(-r, -z), min(r, shape[0] - 1 - z) + 1):
        for dy in range(max(-r, -y), min(r, shape[1] - 1 - y) + 1):
            left = reach - dz * dz - dy * dy
            if left < 0:
                continue
            w = int(np.floor(np.sqrt(left)))
            row = voxel + (dz * shape[1] + dy) * shape[2]
            for dx in range(max(-w, -x), min(w, shape[2] - 1 - x) + 1):
                other = row + dx
                value = flat[other]
                if (value > height or (value == height and other > best)) and _clear_line(
                    flat, shape, voxel, dz, dy, dx
                ):
                    best, height = other, value
    return best


@njit(cache=True, nogil=True, inline="always")
def _within(voxel, shape, low, high, margin):  # type: ignore[no-untyped-def]
    z = voxel // (shape[1] * shape[2])
    y = (voxel // shape[2]) % shape[1]
    x = voxel % shape[2]
    return (
        low[0] + margin <= z < high[0] - margin
        and low[1] + margin <= y < high[1] - margin
        and low[2] + margin <= x < high[2] - margin
    )


@njit(cache=True, nogil=True)
def climb(heights, squared, factor, zone, box, steps):  # type: ignore[no-untyped-def]
    """Follow every voxel of the write block to its peak.

    Parameters
    ----------
    heights
        (z, y, x) int32 with a rim of `OUTSIDE`; background is `OUTSIDE` too.
    squared
        (z, y, x) int16, squared distance to the boundary, clipped, same grid.
    factor
        A peak joins a higher voxel in sight within this many times its distance.
    zone
        (2, 3) int64: corners of the zone in which heights are exact (beyond the volume's faces: far away).
    box
        (2, 3) int64: corners of the write block.
    steps
        (13,) int64: linear steps to the later half of the 3x3x3 box, ascending.

    Returns
    -------
    labels
        (z, y, x) uint32 of the write block, in order of first appearance.
    ends
        (n,) int64 linear voxel of the padded array where each label's path ends.
    resolved
        (n,) bool, True where that end is a peak; False where the path left the exact zone.
    """
    shape = heights.shape
    flat, squared_flat = heights.ravel(), squared.ravel()
    low, high = zone[0], zone[1]
    end_of = np.full(flat.size, -1, np.int32)  # label - 1 once known
    labels = np.zeros((box[1, 0] - box[0, 0], box[1, 1] - box[0, 1], box[1, 2] - box[0, 2]), np.uint32)
    ends = np.empty(1024, np.int64)
    resolved = np.empty(1024, np.bool_)
    path = np.empty(flat.size, np.int32)
    n = 0
    for z in range(box[0, 0], box[1, 0]):
        for y in range(box[0, 1], box[1, 1]):
            for x in range(box[0, 2], box[1, 2]):
                voxel = (z * shape[1] + y) * shape[2] + x
                if flat[voxel] == OUTSIDE:
                    continue
                length = 0
                while end_of[voxel] < 0:
                    path[length] = voxel
                    length += 1
                    following, peak = voxel, False
                    if _within(voxel, shape, low, high, 1):
                        following = _best_neighbour(flat, voxel, steps)
                        if following == voxel:
                            reach = factor * factor * squared_flat[voxel]
                            if _within(voxel, shape, low, high, int(np.floor(np.sqrt(reach)))):
                                following = _jump(flat, shape, voxel, reach)
                                peak = following == voxel
                    if following == voxel:
                        if n == ends.size:
                            ends = np.concatenate((ends, np.empty_like(ends)))
                            resolved = np.concatenate((resolved, np.empty_like(resolved)))
                        ends[n], resolved[n] = voxel, peak
                        end_of[voxel] = n
                        n += 1
                    voxel = following
                label = end_of[voxel]
                for k in range(length):
                    end_of[path[k]] = label
                labels[z - box[0, 0], y - box[0, 1], x - box[0, 2]] = label + 1
    return labels, ends[:n], resolved[:n]


def steps_of(shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """The 13 linear steps of a padded array that lead to later voxels of the 3x3x3 box, ascending."""
    plane, row = shape[1] * shape[2], shape[2]
    all_steps = [dz * plane + dy * row + dx for dz in (-1, 0, 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return np.array(sorted(step for step in all_steps if step > 0), np.int64)
