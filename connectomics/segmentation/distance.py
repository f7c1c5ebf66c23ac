"""Squared distances up to a limit, in whole numbers: a shortest way is made of one part along each axis."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _lower(result, before, after, step):  # type: ignore[no-untyped-def]
    """The least of a row and two others plus `step`, in place; returns the row's largest value."""
    largest = np.int16(0)
    for x in range(result.size):
        least = min(result[x], np.int16(min(before[x], after[x]) + step))
        result[x] = least
        largest = max(largest, least)
    return largest


@njit(cache=True, nogil=True)
def _one_on(gaps, mask, limit, result):  # type: ignore[no-untyped-def]
    for x in range(result.size):
        gap = min(np.int16(gaps[x] + np.int16(1)), limit)
        result[x] = gap if mask[x] else np.int16(0)


@njit(cache=True, nogil=True)
def _along_columns(mask, limit, gaps):  # type: ignore[no-untyped-def]
    """Squared distance along y of a plane, clipped: one sweep down, one up, whole rows at a time."""
    height, width = mask.shape
    gaps[0] = limit
    for y in range(height):
        _one_on(gaps[max(y - 1, 0)], mask[y], limit, gaps[y])
    for y in range(height - 2, -1, -1):
        _lower(gaps[y], gaps[y + 1], gaps[y + 1], np.int16(1))
    for y in range(height):
        for x in range(width):
            gaps[y, x] = np.int16(gaps[y, x] * gaps[y, x])


@njit(cache=True, nogil=True)
def _along_row(row, limit, padded):  # type: ignore[no-untyped-def]
    """Lower a row by its own values at every shift below `limit`; `padded` is room with `limit` to spare."""
    width = row.size
    padded[limit : limit + width] = row
    largest = limit * limit
    for shift in range(1, limit):
        if largest <= shift * shift:
            break
        before, after = padded[limit - shift :][:width], padded[limit + shift :][:width]
        largest = _lower(row, before, after, np.int16(shift * shift))


@njit(cache=True, nogil=True)
def clipped_squared_distance(mask, limit):  # type: ignore[no-untyped-def]
    """Squared distance of every voxel to the nearest voxel outside the mask, at most `limit` squared.

    Parameters
    ----------
    mask
        (z, y, x) bool. Nothing outside the array counts.
    limit
        Voxels, 1 to 100.

    Returns
    -------
    squared
        (z, y, x) int16, 0 outside the mask. Exact: ways of `limit` along one axis are long enough already.
    """
    depth, height, width = mask.shape
    flat = np.empty(mask.shape, np.int16)  # distance within the plane
    padded = np.full(width + 2 * limit, limit * limit, np.int16)
    for z in range(depth):
        _along_columns(mask[z], np.int16(limit), flat[z])
        for y in range(height):
            _along_row(flat[z, y], limit, padded)
    squared = flat.copy()
    for z in range(depth):
        for y in range(height):
            largest = limit * limit
            for shift in range(1, min(limit, depth)):
                if largest <= shift * shift:
                    break
                before, after = flat[max(z - shift, 0), y], flat[min(z + shift, depth - 1), y]
                largest = _lower(squared[z, y], before, after, np.int16(shift * shift))
    return squared
