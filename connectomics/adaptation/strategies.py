"""Which of many candidates to annotate: orders by what was measured of them, and sets that differ most."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def near_median(values: Floats) -> Floats:
    """Scores by how near each value is to the median of all, 1 at the median to 0 at either end.

    A crop of little uncertainty teaches little; the most uncertain ones are often artefacts.

    Examples
    --------
    >>> near_median(np.array([3.0, 1.0, 9.0])).tolist()
    [1.0, 0.0, 0.0]
    """
    if len(values) == 1:
        return np.ones(1)
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return 1 - np.abs(2 * rank / (len(values) - 1) - 1)


def best(scores: Floats, count: int) -> NDArray[np.int64]:
    """Indices of the `count` highest scores, highest first; of equal ones the first."""
    return np.argsort(-scores, kind="stable")[:count].astype(np.int64)


def core_set(features: NDArray[np.floating], count: int) -> tuple[NDArray[np.int64], Floats]:
    """Candidates such that every other one looks like one of them (k-centre, greedy).

    The first is the one nearest to the mean; each next one is the farthest from all that are chosen, so that
    no candidate is farther from a chosen one than twice what the best choice would allow.

    Parameters
    ----------
    features
        (n, d); each feature counts alike.
    count
        How many are wanted.

    Returns
    -------
    chosen : ndarray of int64
        In the order in which they were chosen.
    distance : ndarray
        Of each chosen one from those before it; of the first, from the mean.
    """
    values = features.astype(np.float64)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    from_mean = np.linalg.norm(values, axis=1)
    chosen = [int(np.argmin(from_mean))]
    apart = [float(from_mean[chosen[0]])]
    nearest = np.linalg.norm(values - values[chosen[0]], axis=1)
    while len(chosen) < min(count, len(values)):
        nearest[chosen] = -1.0
        farthest = int(np.argmax(nearest))
        chosen.append(farthest)
        apart.append(float(nearest[farthest]))
        nearest = np.minimum(nearest, np.linalg.norm(values - values[farthest], axis=1))
    return np.array(chosen, np.int64), np.array(apart)


def binary_entropy(affinities: NDArray[np.uint8]) -> float:
    """Mean entropy, bits, of affinities 0..255 taken as probabilities.

    Examples
    --------
    >>> binary_entropy(np.array([0, 255], np.uint8))
    0.0
    """
    share = np.arange(256) / 255
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.nan_to_num(-share * np.log2(share)) + np.nan_to_num(-(1 - share) * np.log2(1 - share))
    counts = np.bincount(affinities.ravel(), minlength=256)
    return float(counts @ entropy / counts.sum())
