"""What a crop looks like without any network: its grey values and its power spectrum, as features."""

import numpy as np
from numpy.typing import NDArray

QUANTILES = tuple(np.linspace(0.02, 0.98, 13))
"""Which grey values describe a crop's histogram."""

SHELLS = 12
"""Shells of spatial frequency, up to half a cycle a voxel."""


def image_statistics(crop: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quantiles of the grey values, and the logarithm of the power in shells of frequency, by axis too.

    Parameters
    ----------
    crop
        (z, y, x), normalised as its volume is.

    Returns
    -------
    ndarray, (13 + 12 + 9,)
        Quantiles; power in shells of any direction; power along each axis, in thirds of the frequencies.
    """
    image = crop.astype(np.float64)
    window = np.ones(())
    for n in image.shape:
        window = np.multiply.outer(window, np.hanning(n + 2)[1:-1])
    power = np.abs(np.fft.rfftn((image - image.mean()) * window)) ** 2 / np.square(window).sum()
    axes = [np.fft.fftfreq(n) for n in image.shape[:2]] + [np.fft.rfftfreq(image.shape[2])]
    z, y, x = np.meshgrid(*(np.abs(axis) for axis in axes), indexing="ij")
    radius = np.sqrt(z * z + y * y + x * x)
    bands = [_banded(power, radius, np.linspace(0, 0.5, SHELLS + 1))]
    for along in (z, y, x):
        near = along >= 0.8 * radius  # a cone around the axis
        bands.append(_banded(power[near], radius[near], np.linspace(0, 0.5, 4)))
    return np.concatenate([np.quantile(image, QUANTILES), *bands]).astype(np.float32)


def _banded(
    power: NDArray[np.float64], radius: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithm of the mean power between each two edges; an empty band takes the mean of all."""
    band = np.clip(np.searchsorted(edges, radius.ravel(), side="right") - 1, 0, len(edges) - 1)
    count = np.bincount(band, minlength=len(edges))[:-1]
    total = np.bincount(band, weights=power.ravel(), minlength=len(edges))[:-1]
    mean = np.where(count > 0, total / np.maximum(count, 1), power.mean())
    return np.log(mean + 1e-6)
