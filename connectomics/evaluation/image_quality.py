"""How near a grey image comes to the real one: errors, structure and power spectrum, as sums over blocks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WINDOW = 7
"""Edge in voxels of the window that structural similarity looks at."""

BANDS = 8
"""Bands of the power spectrum, equally wide, up to half a cycle per voxel of the finest axis."""

CUBE = 32
"""Edge in voxels of the pieces whose spectrum is taken."""


def error_sums(found: NDArray[np.float32], truth: NDArray[np.float32], keep: NDArray[np.bool_]) -> Floats:
    """Voxels, sum of the absolute and of the squared differences where `keep` holds; float64, (3,)."""
    difference = (found - truth)[keep].astype(np.float64)
    return np.array([difference.size, np.abs(difference).sum(), np.square(difference).sum()])


def structure_map(found: NDArray[np.float32], truth: NDArray[np.float32], span: float) -> Floats:
    """Structural similarity (doi:10.1109/TIP.2003.819861) around each voxel, windows of `WINDOW` voxels.

    Parameters
    ----------
    found, truth
        (z, y, x) grey values, at least `WINDOW` voxels along each axis.
    span
        Range of grey values.

    Returns
    -------
    ndarray
        The same shape; what is nearer than half a window to a face holds mirrored voxels.
    """
    from skimage import metrics

    similarity: Any = metrics.structural_similarity
    return np.asarray(similarity(found, truth, win_size=WINDOW, data_range=span, full=True)[1], np.float64)


def power_sums(
    found: NDArray[np.float32], truth: NDArray[np.float32], voxel_size: Sequence[float], cube: Sequence[int]
) -> Floats:
    """Power of two images by spatial frequency, summed over the whole cubes that fit into them.

    Each cube has its mean taken off and is faded out towards its faces (Hann).

    Parameters
    ----------
    found, truth
        (z, y, x) grey values.
    voxel_size
        Any unit, zyx: a band holds waves of one length in the world.
    cube
        Voxels of a cube, zyx.

    Returns
    -------
    ndarray
        (2, BANDS) float64: of `found` and of `truth`.
    """
    bands = _bands(voxel_size, cube)
    inside = (bands >= 0) & (bands < BANDS)
    counts = [n // c for n, c in zip(found.shape, cube, strict=True)]
    sums = np.zeros((2, BANDS))
    for index in np.ndindex(*counts):
        piece = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, cube, strict=True))
        for image, row in zip((found, truth), sums, strict=True):
            row += np.bincount(bands[inside], _power(image[piece])[inside], BANDS)
    return sums


def _power(image: NDArray[np.float32]) -> Floats:
    faded = image - image.mean(dtype=np.float64)
    for axis, n in enumerate(image.shape):
        shape = [1, 1, 1]
        shape[axis] = n
        faded = faded * (np.hanning(n + 2)[1:-1]).reshape(shape)
    return np.asarray(np.square(np.abs(np.fft.fftn(faded))))


def _bands(voxel_size: Sequence[float], cube: Sequence[int]) -> NDArray[np.int64]:
    along = [np.fft.fftfreq(n, v) for n, v in zip(cube, voxel_size, strict=True)]
    z, y, x = np.meshgrid(*along, indexing="ij", sparse=True)
    radius = np.sqrt(z * z + y * y + x * x)
    bands = np.floor(radius * min(voxel_size) * 2 * BANDS).astype(np.int64)
    bands[radius == 0] = -1
    return bands
