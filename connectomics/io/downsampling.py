"""Downsampling of one array: images by mean, labels by mode (ties to the smaller id)."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.errors import GeometryError
from connectomics.io.ome_metadata import Kind
from connectomics.roi import IntTriple, Triple


def next_factor(voxel_size: Triple, shape: IntTriple) -> IntTriple:
    """Factor (1 or 2 along each axis) that leads to the next level: anisotropic first towards isotropic.

    An axis is halved when its voxels, halved in number, would still not be longer than the longest by more
    than the square root of two; when that is so of none but the longest, all are halved. An axis of one
    voxel is never halved.

    Examples
    --------
    >>> next_factor((40.0, 4.0, 4.0), (100, 100, 100)), next_factor((33.0, 33.0, 33.0), (100, 100, 100))
    ((1, 2, 2), (2, 2, 2))
    """
    longest = max(v for v, n in zip(voxel_size, shape, strict=True) if n > 1 or max(shape) == 1)
    shorter = [v * np.sqrt(2) <= longest and n > 1 for v, n in zip(voxel_size, shape, strict=True)]
    halved = shorter if any(shorter) else [n > 1 for n in shape]
    z, y, x = (2 if half else 1 for half in halved)
    return z, y, x


def downsample(array: NDArray[Any], factor: IntTriple, kind: Kind) -> NDArray[Any]:
    """Downsample the last three axes of an array by 1 or 2.

    Parameters
    ----------
    array
        (z, y, x) or (c, z, y, x); odd ends are averaged over what is there.
    factor
        1 or 2 along z, y, x.
    kind
        ``"image"``: mean, integers rounded half up. ``"label"``: the most frequent value, of those that tie
        the smallest.

    Returns
    -------
    ndarray
        The same dtype, each axis ``ceil(n / factor)`` long.

    Examples
    --------
    >>> downsample(np.array([[[7, 7, 3, 3], [7, 2, 9, 9]]]), (1, 2, 2), "label").tolist()
    [[[7, 3]]]
    """
    if any(f not in (1, 2) for f in factor):
        raise GeometryError(f"factor: expected 1 or 2 along each axis, got {factor}.")
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    stack = native.reshape((-1, *native.shape[-3:]))
    if native.dtype == np.float16:
        stack = stack.astype(np.float32)
    elif native.dtype == bool:
        stack = stack.view(np.uint8)
    size = tuple(-(-n // f) for n, f in zip(native.shape[-3:], factor, strict=True))
    out = np.empty((len(stack), *size), stack.dtype)
    for channel, target in zip(stack, out, strict=True):
        if kind == "label":
            _mode(channel, factor, target)
        else:
            _mean(channel, factor, channel.dtype.kind != "f", target)
    return out.reshape(native.shape[:-3] + size).astype(native.dtype, copy=False)


@njit(cache=True, nogil=True)
def _mean(array, factor, rounded, out) -> None:  # type: ignore[no-untyped-def]
    for z in range(out.shape[0]):
        z1 = min((z + 1) * factor[0], array.shape[0])
        for y in range(out.shape[1]):
            y1 = min((y + 1) * factor[1], array.shape[1])
            for x in range(out.shape[2]):
                x1 = min((x + 1) * factor[2], array.shape[2])
                total = 0.0
                count = 0
                for k in range(z * factor[0], z1):
                    for j in range(y * factor[1], y1):
                        for i in range(x * factor[2], x1):
                            total += array[k, j, i]
                            count += 1
                mean = total / count
                out[z, y, x] = np.floor(mean + 0.5) if rounded else mean


@njit(cache=True, nogil=True)
def _mode(array, factor, out) -> None:  # type: ignore[no-untyped-def]
    values = np.empty(8, array.dtype)
    for z in range(out.shape[0]):
        z1 = min((z + 1) * factor[0], array.shape[0])
        for y in range(out.shape[1]):
            y1 = min((y + 1) * factor[1], array.shape[1])
            for x in range(out.shape[2]):
                x1 = min((x + 1) * factor[2], array.shape[2])
                count = 0
                same = True
                for k in range(z * factor[0], z1):
                    for j in range(y * factor[1], y1):
                        for i in range(x * factor[2], x1):
                            values[count] = array[k, j, i]
                            same = same and values[count] == values[0]
                            count += 1
                best = values[0]
                if not same:
                    best_votes = 0
                    for a in range(count):
                        votes = 0
                        for b in range(count):
                            votes += values[a] == values[b]
                        if votes > best_votes or (votes == best_votes and values[a] < best):
                            best = values[a]
                            best_votes = votes
                out[z, y, x] = best
