"""Fit a calibration to painted labels: affinities by isotonic regression, edges by a logistic model."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from connectomics.affinities import pair_slices
from connectomics.roi import IntTriple
from connectomics.segmentation.agglomeration import agglomerate
from connectomics.segmentation.block_fragments import Box
from connectomics.segmentation.calibration import (
    COUNTS_KEY,
    EDGE_KEY,
    RANGE_KEYS,
    UNDECIDED_KEY,
    VOXEL_KEYS,
)
from connectomics.segmentation.edge_features import MERGED, Surroundings, edge_features
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.uncertainty import NEAREST_CHANNELS
from connectomics.segmentation.whole import fragment_graph

LABELLED, PURE = 1 / 2, 2 / 3
"""A fragment is taken to be of an object when more than half its voxels are labelled as objects, and at least
two thirds of those as that one. Edges of other fragments have no truth, and are left out."""

DOUBT = 0.05
"""An edge is undecided where its affinity alone leaves more than this probability either way."""

OUTLIERS = 0.005
"""Share of the edges at either end of a feature that do not count towards its range."""

FEWEST = 20
"""Edges of each kind, of one object or of two, that it takes to fit a model to them."""


@dataclass
class Evidence:
    """What labelled volumes say, volume by volume.

    Attributes
    ----------
    voxels : (3, 2, 256) int64
        Voxels by channel, whether truth connects them, and affinity.
    features, same, mean : list of ndarray
        Of the edges whose truth is known: features, whether both ends are one object, mean affinity.
    """

    voxels: NDArray[np.int64] = field(default_factory=lambda: np.zeros((NEAREST_CHANNELS, 2, 256), np.int64))
    features: list[NDArray[np.float64]] = field(default_factory=list)
    same: list[NDArray[np.bool_]] = field(default_factory=list)
    mean: list[NDArray[np.float32]] = field(default_factory=list)

    def add_voxels(
        self, affinities: NDArray[np.uint8], labels: NDArray[np.int32], offsets: Sequence[IntTriple]
    ) -> None:
        """Count the affinities of a volume; labels as in training: -1 unlabelled, 0 background."""
        for channel, offset in enumerate(offsets[:NEAREST_CHANNELS]):
            here, there = pair_slices(offset)
            a, b = labels[here], labels[there]
            known = (a >= 0) & (b >= 0)
            connected = ((a == b) & (a > 0))[known]
            found = affinities[channel][here][known].astype(np.int64)
            self.voxels[channel] += np.bincount(found + 256 * connected, minlength=512).reshape(2, 256)

    def add_edges(
        self,
        affinities: NDArray[np.uint8],
        labels: NDArray[np.int32],
        offsets: Sequence[IntTriple],
        settings: SegmentationSettings,
        scored: Box,
        image: NDArray[np.float32] | None = None,
    ) -> None:
        """Segment a volume, and compare its edges with the labels.

        Only edges whose smaller fragment lies for more than half inside the box `scored` are taken: labels
        outside may be those that the network was fitted to. The larger fragment may reach far beyond. `image`
        is needed where the settings have a grey penalty, see `segment_array`.
        """
        fragments, graph = fragment_graph(affinities, offsets, settings, image)
        count = int(fragments.max(initial=0))
        sizes = np.bincount(fragments.ravel().astype(np.int64), minlength=count + 1)
        tree = agglomerate(graph, count, settings.linkage, settings.threshold)
        around = Surroundings(sizes, tree.lut(settings.threshold))
        around.add(graph.edges, graph.mean, graph.size)
        u, v = fragment_objects(fragments, labels)[graph.edges.view(np.int64)].T
        inside = np.bincount(fragments[scored].ravel().astype(np.int64), minlength=count + 1)
        ends = graph.edges.view(np.int64)
        smaller = ends[np.arange(len(ends)), sizes[ends].argmin(axis=1)]
        known = (u > 0) & (v > 0) & (inside[smaller] > sizes[smaller] / 2)
        features = edge_features(graph.edges, graph.mean, graph.std, graph.size, around, graph.penalty)
        self.features.append(features[known])
        self.same.append((u == v)[known])
        self.mean.append(graph.mean[known])

    def calibration(self) -> dict[str, list[float]]:
        """The numbers for the contract; those of the edges only where there are enough of them."""
        tables = {
            key: _rounded(connected_given(*counts))
            for key, counts in zip(VOXEL_KEYS, self.voxels, strict=True)
            if counts.any()
        }
        same = np.concatenate([np.zeros(0, bool), *self.same])
        if min(same.sum(), (~same).sum()) < FEWEST:
            return tables
        features, mean = np.concatenate(self.features), np.concatenate(self.mean)
        wrong = int((same != (features[:, MERGED] > 0)).sum())
        ends = np.quantile(features, (OUTLIERS, 1 - OUTLIERS), axis=0)
        numbers = (fit_logistic(features, same), *ends)
        for key, row in zip((EDGE_KEY, *RANGE_KEYS), numbers, strict=True):
            tables[key] = [float(f"{number:.6g}") for number in row]
        tables[UNDECIDED_KEY] = _rounded(np.array(undecided_range(mean, same)))
        tables[COUNTS_KEY] = [float(len(same)), float(same.sum()), float(wrong)]
        return tables


def connected_given(apart: NDArray[np.int64], connected: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability of being connected for each affinity, never falling with it.

    Parameters
    ----------
    apart, connected
        (256,) how many voxels of each affinity are not connected and are; affinities that do not occur are
        interpolated between those that do.
    """
    from scipy.optimize import isotonic_regression

    total = apart + connected
    there = np.flatnonzero(total)
    rising = isotonic_regression(connected[there] / total[there], weights=total[there]).x
    return np.clip(np.interp(np.arange(len(total)), there, rising), 0, 1)


def fragment_objects(fragments: NDArray[np.uint64], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """The object that each fragment is of, or 0 where it is of none; see `LABELLED` and `PURE`.

    Parameters
    ----------
    fragments
        (z, y, x), 0 = background.
    labels
        (z, y, x): objects from 1; 0 = background, negative = unlabelled.

    Returns
    -------
    ndarray of int64, (fragments + 1,)
    """
    count = int(fragments.max(initial=0)) + 1
    sizes = np.bincount(fragments.ravel().astype(np.int64), minlength=count)
    inside = (labels > 0) & (fragments > 0)
    span = int(labels.max(initial=0)) + 1
    keys, voxels = np.unique(fragments[inside].astype(np.int64) * span + labels[inside], return_counts=True)
    fragment, label = np.divmod(keys, span)
    labelled = np.bincount(fragment, voxels, minlength=count)
    order = np.argsort(voxels, kind="stable")  # the last to be written is the largest
    objects, most = np.zeros(count, np.int64), np.zeros(count, np.int64)
    objects[fragment[order]], most[fragment[order]] = label[order], voxels[order]
    taken = (labelled > LABELLED * sizes) & (most >= PURE * labelled)
    return np.where(taken, objects, 0)


def fit_logistic(features: NDArray[np.float64], same: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Constant and weights of a logistic model, held back by a ridge of 1 on standardised features.

    Parameters
    ----------
    features
        (E, F).
    same
        (E,) what is to be predicted.
    """
    from scipy.optimize import minimize

    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread == 0] = 1
    scaled = np.column_stack([np.ones(len(features)), (features - centre) / spread])
    sign = np.where(same, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (scaled @ weights)
        held = np.concatenate(([0.0], weights[1:]))
        slope = -sign / (1 + np.exp(np.clip(margin, -40, 40)))
        return float(np.logaddexp(0, -margin).sum() + held @ held / 2), scaled.T @ slope + held

    found = minimize(loss, np.zeros(scaled.shape[1]), jac=True, method="L-BFGS-B").x
    weights = found[1:] / spread
    return np.concatenate(([found[0] - centre @ weights], weights))


def undecided_range(
    mean: NDArray[np.float32], same: NDArray[np.bool_], doubt: float = DOUBT
) -> tuple[float, float]:
    """Between which mean affinities the affinity alone leaves more than `doubt` either way.

    Parameters
    ----------
    mean, same
        (E,) mean affinity of each edge, and whether both ends are one object.
    doubt
        Probability.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(mean, kind="stable")
    rising = isotonic_regression(same[order].astype(np.float64)).x
    unsure = np.flatnonzero((rising > doubt) & (rising < 1 - doubt))
    if not len(unsure):
        middle = float(mean[order][min(int(np.searchsorted(rising, 0.5)), len(mean) - 1)])
        return middle, middle
    return float(mean[order][unsure[0]]), float(mean[order][unsure[-1]])


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]
