"""Colours of labels: random to look at, the same for one id in every picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def label_colours(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour every label by a hash of its id; 0 is black.

    Parameters
    ----------
    labels
        Non-negative integers, any shape.

    Returns
    -------
    ndarray of uint8
        The shape of `labels` with a last axis of red, green, blue. An id has one colour wherever it occurs.

    Examples
    --------
    >>> label_colours(np.array([0, 7, 7])).tolist()[0]
    [0, 0, 0]
    """
    ids, position = np.unique(labels, return_inverse=True)
    bits = _mixed(ids.astype(np.uint64))
    hue = (bits & np.uint64(0xFFFF)).astype(np.float64) / 0x10000
    saturation = 0.45 + 0.5 * ((bits >> np.uint64(16)) & np.uint64(0xFFFF)).astype(np.float64) / 0xFFFF
    value = 0.65 + 0.35 * ((bits >> np.uint64(32)) & np.uint64(0xFFFF)).astype(np.float64) / 0xFFFF
    colours = _rgb(hue, saturation, value)
    colours[ids == 0] = 0
    return colours[position].reshape(*np.shape(labels), 3)


def _mixed(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: neighbouring ids get unrelated bits."""
    bits = ids + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _rgb(
    hue: NDArray[np.float64], saturation: NDArray[np.float64], value: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Hue, saturation and value (0..1) as red, green, blue."""
    sector = (hue[:, None] * 6 + np.array([5.0, 3.0, 1.0])) % 6
    fall = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    return np.rint(255 * value[:, None] * (1 - saturation[:, None] * fall)).astype(np.uint8)
