"""Membranes in EM: thin dark sheets, found the same way in two images and compared within a voxel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMOOTHING = 1.0
"""Standard deviation in voxels of the Gaussian that takes noise away first."""

WIDTH = 7
"""Voxels: what is dark and narrower than this stands out."""

HALO = 12
"""Voxels around a block that `matches` must see: Gaussian 4, closing 6, tolerance 1, and one to spare."""


def darkness(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much darker a voxel is than what surrounds the thin dark thing it lies in, in grey levels.

    The black top-hat (closing minus image) of the slightly smoothed image: zero in what is as wide as
    `WIDTH`, such as cytoplasm or the inside of a dark cell.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image, SMOOTHING, truncate=4)
    return np.asarray(ndimage.grey_closing(smooth, WIDTH) - smooth, np.float32)


def threshold(samples: NDArray[np.float32]) -> float:
    """The darkness that tells membranes from the rest of the real image (Otsu), from samples of it."""
    from skimage import filters

    otsu: Any = filters.threshold_otsu
    return float(otsu(samples)) if samples.max() > samples.min() else float(samples.max())


def matches(
    found: NDArray[np.float32], truth: NDArray[np.float32], least: float, keep: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Count membrane voxels, and those with one of the other image no farther than a voxel away.

    Parameters
    ----------
    found, truth
        (z, y, x) grey values.
    least
        Darkness from which on a voxel is membrane, in both.
    keep
        Voxels to count.

    Returns
    -------
    ndarray
        (4,): membrane voxels of `found`, those of them that match, and the same of `truth`.
    """
    from scipy import ndimage

    mine, real = (darkness(image) > least for image in (found, truth))
    near = np.ones((3, 3, 3), bool)
    right = mine & ndimage.binary_dilation(real, near)
    seen = real & ndimage.binary_dilation(mine, near)
    return np.array([np.count_nonzero(voxels & keep) for voxels in (mine, right, real, seen)])


def f1(counts: NDArray[np.int64]) -> dict[str, float]:
    """Precision, recall and their harmonic mean (0 where only one image has membranes; NaN of none)."""
    found, right, real, seen = (float(n) for n in counts)
    precision, recall = (a / b if b else float("nan") for a, b in ((right, found), (seen, real)))
    if found and real:
        mean = 2 * precision * recall / (precision + recall) if right and seen else 0.0
    else:
        mean = 0.0 if found or real else float("nan")
    return {"membrane_f1": mean, "membrane_precision": precision, "membrane_recall": recall}
