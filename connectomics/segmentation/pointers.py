"""Every voxel climbs to a peak of the height map; a path that leaves the known zone ends as a link."""

import numpy as np
from numba import njit

OUTSIDE = np.int32(-(2**31))
"""Height of background and of the rim around the array: never climbed to."""


@njit(cache=True, nogil=True)
def _keys(heights, first, keys):  # type: ignore[no-untyped-def]
    """One number per voxel of a row that orders by height, then by linear index (from `first` on)."""
    for x in range(keys.size):
        keys[x] = (np.int64(heights[x]) << 32) + (first + x)


@njit(cache=True, nogil=True)
def _largest(before, here, after, result):  # type: ignore[no-untyped-def]
    for x in range(result.size):
        result[x] = max(before[x], max(here[x], after[x]))


@njit(cache=True, nogil=True)
def _best_of_plane(plane, first, row, rows, best):  # type: ignore[no-untyped-def]
    """The largest key of every 3x3 box of a plane, whose voxels count from `first`, `row` to a row.

    `rows` (y, x - 2) is room to work in; `best` (y - 2, x - 2) is the result.
    """
    keys = np.empty(plane.shape[1], np.int64)
    for y in range(plane.shape[0]):
        _keys(plane[y], first + y * row, keys)
        _largest(keys[:-2], keys[1:-1], keys[2:], rows[y])
    for y in range(best.shape[0]):
        _largest(rows[y], rows[y + 1], rows[y + 2], best[y])


@njit(cache=True, nogil=True)
def best_neighbours(heights, low, high):  # type: ignore[no-untyped-def]
    """Where each voxel points to: the highest of its 3x3x3 box; equal heights go to the later voxel.

    Parameters
    ----------
    heights
        (z, y, x) int32, fewer than 2**31 voxels.
    low, high
        (3,) int64: corners of the voxels to look at; the array goes on for a voxel around them.

    Returns
    -------
    pointers
        (n,) int32 linear voxels; a voxel not looked at points to itself.
    """
    pointers = np.arange(heights.size, dtype=np.int32)
    if (high <= low).any():
        return pointers
    row, plane = heights.shape[2], heights.shape[1] * heights.shape[2]
    best = np.empty((3, high[1] - low[1], high[2] - low[2]), np.int64)  # of three planes in turn
    rows = np.empty((high[1] - low[1] + 2, high[2] - low[2]), np.int64)
    line = np.empty(high[2] - low[2], np.int64)
    for z in range(low[0] - 1, high[0] + 1):
        part = heights[z, low[1] - 1 : high[1] + 1, low[2] - 1 : high[2] + 1]
        first = z * plane + (low[1] - 1) * row + low[2] - 1
        _best_of_plane(part, first, row, rows, best[z % 3])
        if z <= low[0]:
            continue
        for y in range(best.shape[1]):
            _largest(best[0, y], best[1, y], best[2, y], line)
            start = (z - 1) * plane + (low[1] + y) * row + low[2]
            for x in range(line.size):
                pointers[start + x] = np.int32(line[x] & 0x7FFFFFFF)
    return pointers


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


@njit(cache=True, nogil=True, inline="always")
def _end_of(pointers, voxel):  # type: ignore[no-untyped-def]
    """The voxel where the path ends so far: labelled (below 0) or pointing to itself."""
    while pointers[voxel] >= 0 and pointers[voxel] != voxel:
        voxel = pointers[voxel]
    return voxel


@njit(cache=True, nogil=True, inline="always")
def _label_path(pointers, voxel, mark):  # type: ignore[no-untyped-def]
    """Write the mark (below 0) over the pointers of a path up to its labelled end."""
    while pointers[voxel] >= 0:
        following = pointers[voxel]
        pointers[voxel] = mark
        voxel = following


@njit(cache=True, nogil=True)
def _beyond(heights, squared, factor, zone, voxel):  # type: ignore[no-untyped-def]
    """Where a local peak goes on to, and whether it is a peak for good (not so where the zone ends)."""
    shape, low, high = heights.shape, zone[0], zone[1]
    if not _within(voxel, shape, low, high, 1):
        return voxel, False
    reach = factor * factor * squared[voxel]
    if not _within(voxel, shape, low, high, int(np.floor(np.sqrt(reach)))):
        return voxel, False
    following = _jump(heights.ravel(), shape, voxel, reach)
    return following, following == voxel


@njit(cache=True, nogil=True)
def climb(heights, squared, factor, zone, box):  # type: ignore[no-untyped-def]
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

    Returns
    -------
    labels
        (z, y, x) uint32 of the write block, in order of first appearance.
    ends
        (n,) int64 linear voxel of the padded array where each label's path ends.
    resolved
        (n,) bool, True where that end is a peak; False where the path left the exact zone.
    """
    shape = np.array(heights.shape)
    low, high = np.maximum(zone[0] + 1, 1), np.minimum(zone[1] - 1, shape - 1)
    pointers = best_neighbours(heights, low, high)  # -label once known
    labels = np.zeros((box[1, 0] - box[0, 0], box[1, 1] - box[0, 1], box[1, 2] - box[0, 2]), np.uint32)
    squared_flat = squared.ravel()
    ends, resolved = [np.int64(0)], [False]  # label 0 is background
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            first = ((box[0, 0] + z) * shape[1] + box[0, 1] + y) * shape[2] + box[0, 2]
            for x in range(labels.shape[2]):
                if heights[box[0, 0] + z, box[0, 1] + y, box[0, 2] + x] == OUTSIDE:
                    continue
                end = _end_of(pointers, first + x)
                while pointers[end] >= 0:
                    following, peak = _beyond(heights, squared_flat, factor, zone, end)
                    pointers[end] = following
                    if following == end:
                        pointers[end] = -len(ends)
                        ends.append(end)
                        resolved.append(peak)
                    else:
                        end = _end_of(pointers, following)
                labels[z, y, x] = -pointers[end]
                _label_path(pointers, first + x, pointers[end])
    return labels, np.array(ends)[1:], np.array(resolved)[1:]
