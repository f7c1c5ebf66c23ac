"""What is known of an edge of the region graph when its uncertainty is judged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEATURES = (
    "affinity",
    "pairs",
    "smaller",
    "larger",
    "segment",
    "merged",
    "affinity_if_merged",
    "spread",
    "less_than_strongest",
    "less_than_weaker",
    "contact",
    "penalty",
)
"""affinity: logit of the mean. pairs: log of the voxel pairs. smaller, larger: log voxels of the two
fragments. segment: log voxels of the smaller of the two segments. merged: 1 where the ends are one segment
after agglomeration, else 0. affinity_if_merged: their product. spread: standard deviation of the affinities.
less_than_strongest, less_than_weaker: how far the affinity is below that of the strongest edge of either
fragment: of the one where it is further below, and of the other. contact: log share of the pairs in all
pairs of the fragment that has fewer. penalty: what the affinity loses in agglomeration because the ends are
not equally grey."""

MERGED = FEATURES.index("merged")

_CLOSEST = 1 / 510
"""Affinities are no closer to 0 and 1: half a step of their 8 bits."""


@dataclass(frozen=True)
class EdgeModel:
    """A logistic model of edges: how likely both ends are one object.

    Attributes
    ----------
    weights : (1 + F,) float64
        Constant, and a weight for each feature.
    low, high : (F,) float64
        The range of each feature in which the model was calibrated. A value beyond counts as the end of its
        range: in a volume larger than any that it was calibrated on there are larger segments.
    """

    weights: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def same_object(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability that both ends of each edge are one object, from its (E, F) features."""
        score = np.full(len(features), self.weights[0])
        columns = zip(np.clip(features, self.low, self.high).T, self.weights[1:], strict=True)
        for column, weight in columns:  # each row comes out the same, whatever the others are
            score += weight * column
        return 1 / (1 + np.exp(-np.clip(score, -40, 40)))


class Surroundings:
    """What all edges of a fragment say of it, gathered from any pieces of the table in any order.

    Parameters
    ----------
    sizes
        (fragments + 1,) voxels of each fragment; 0 is the background.
    segment
        (fragments + 1,) segment of each fragment after agglomeration.
    """

    def __init__(self, sizes: NDArray[np.int64], segment: NDArray[np.uint64]) -> None:
        self.sizes = sizes
        self.segment = segment.view(np.int64)
        self.segment_sizes = np.zeros(int(self.segment.max(initial=0)) + 1, np.int64)
        np.add.at(self.segment_sizes, self.segment, sizes)
        self.strongest = np.zeros(len(sizes), np.float32)
        self.pairs = np.zeros(len(sizes), np.float64)

    def add(self, edges: NDArray[np.uint64], mean: NDArray[np.float32], size: NDArray[np.float32]) -> None:
        """Take note of some edges, each once: (E, 2) fragments, (E,) mean affinity, (E,) voxel pairs."""
        for side in edges.view(np.int64).T:
            np.maximum.at(self.strongest, side, mean)
            np.add.at(self.pairs, side, size)


def edge_features(
    edges: NDArray[np.uint64],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    size: NDArray[np.float32],
    around: Surroundings,
    penalty: NDArray[np.float32] | None = None,
) -> NDArray[np.float64]:
    """The features of some edges.

    Parameters
    ----------
    edges
        (E, 2) fragments.
    mean, std
        (E,) mean and standard deviation of each edge's affinities, 0..1.
    size
        (E,) voxel pairs.
    around
        Knows the fragments, and has been told of all edges.
    penalty
        (E,) what each edge loses by unlike greys, 0..1; None: nothing.

    Returns
    -------
    ndarray, (E, F)
        In the order of `FEATURES`.
    """
    u, v = edges.view(np.int64).T
    affinity = _logit(mean)
    merged = around.segment[u] == around.segment[v]
    voxels = np.sort(np.stack([around.sizes[u], around.sizes[v]]), axis=0)
    segment = np.minimum(around.segment_sizes[around.segment[u]], around.segment_sizes[around.segment[v]])
    below = np.sort(np.stack([affinity - _logit(around.strongest[end]) for end in (u, v)]), axis=0)
    columns = {
        "affinity": affinity,
        "pairs": np.log(size),
        "smaller": np.log(np.maximum(1, voxels[0])),
        "larger": np.log(np.maximum(1, voxels[1])),
        "segment": np.log(np.maximum(1, segment)),
        "merged": merged,
        "affinity_if_merged": merged * affinity,
        "spread": std,
        "less_than_strongest": below[0],
        "less_than_weaker": below[1],
        "contact": np.log(size / np.minimum(around.pairs[u], around.pairs[v])),
        "penalty": np.zeros(len(mean)) if penalty is None else penalty,
    }
    return np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float64)


def _logit(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    inner = np.clip(probability.astype(np.float64), _CLOSEST, 1 - _CLOSEST)
    return np.log(inner / (1 - inner))
