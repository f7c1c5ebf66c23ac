"""How likely a voxel's affinities or the decision on an edge are wrong, as far as the network itself says."""

import numpy as np
from numpy.typing import NDArray

NEAREST_CHANNELS = 3


def voxel_uncertainty(affinities: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Probability that a voxel's nearest-neighbour affinities are wrong, taking the network at its word.

    An affinity p is called connected when p > 1/2, and is then wrong with probability min(p, 1 - p).

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, round(255 p), nearest neighbours first.

    Returns
    -------
    ndarray of uint8, (z, y, x)
        255 times the mean over the nearest channels; at most 127.
    """
    nearest = affinities[:NEAREST_CHANNELS]
    total = np.zeros(nearest.shape[1:], np.uint16)
    for channel in nearest:
        total += np.minimum(channel, 255 - channel)
    return (total // len(nearest)).astype(np.uint8)


def edge_uncertainty(mean: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Probability that the decision to merge along an edge, or not to, is wrong; not calibrated.

    The probability that both ends are one object is taken to rise linearly from 0 at affinity 0 over 1/2 at
    the threshold to 1 at affinity 1.

    Parameters
    ----------
    mean
        (E,) affinity of each edge, 0..1.
    threshold
        Above which edges are merged, 0..1.
    """
    threshold = float(np.clip(threshold, 1e-6, 1 - 1e-6))
    same = np.where(
        mean > threshold, 0.5 + 0.5 * (mean - threshold) / (1 - threshold), 0.5 * mean / threshold
    )
    return np.minimum(same, 1 - same).astype(np.float32)
