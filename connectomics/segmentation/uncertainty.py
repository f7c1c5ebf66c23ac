"""How likely a voxel's affinities or the decision on an edge are wrong, calibrated or by the network."""

import numpy as np
from numpy.typing import NDArray

from connectomics.segmentation.edge_features import MERGED, EdgeModel

NEAREST_CHANNELS = 3


def voxel_uncertainty(
    affinities: NDArray[np.uint8], connected: NDArray[np.float64] | None = None
) -> NDArray[np.uint8]:
    """Probability that a voxel's nearest-neighbour affinities are wrong.

    An affinity is called connected when it is above 127, and not connected else. Each voxel is judged by
    itself, so the result does not depend on blocks.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, round(255 p), nearest neighbours first.
    connected
        (3, 256) probability that two neighbours are connected, given the affinity of each channel (see
        `connectomics.segmentation.calibration`); without it the network is taken at its word, and an
        affinity p is wrong with probability min(p, 1 - p).

    Returns
    -------
    ndarray of uint8, (z, y, x)
        255 times the mean over the nearest channels.
    """
    nearest = affinities[:NEAREST_CHANNELS]
    if connected is None:
        total = np.zeros(nearest.shape[1:], np.uint16)
        for channel in nearest:
            total += np.minimum(channel, 255 - channel)
        return (total // len(nearest)).astype(np.uint8)
    wrong = np.where(np.arange(256) > 127, 1 - connected, connected).astype(np.float32)
    doubt = np.zeros(nearest.shape[1:], np.float32)
    for table, channel in zip(wrong, nearest, strict=True):
        doubt += table[channel]
    return np.rint(doubt * np.float32(255 / len(nearest))).astype(np.uint8)


def edge_uncertainty(mean: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Probability that the decision to merge along an edge, or not to, is wrong; not calibrated.

    The decision is taken to be that of the threshold, and the probability that both ends are one object to
    rise linearly from 0 at affinity 0 over 1/2 at the threshold to 1 at affinity 1.

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


def calibrated_edge_uncertainty(features: NDArray[np.float64], model: EdgeModel) -> NDArray[np.float32]:
    """Probability that the final decision on an edge, one segment or two, is wrong.

    Parameters
    ----------
    features
        (E, F) from `connectomics.segmentation.edge_features.edge_features`.
    model
        From a contract.
    """
    same = model.same_object(features)
    return np.where(features[:, MERGED] > 0, 1 - same, same).astype(np.float32)
