"""Where a segmentation breaks or joins skeletons: each error's place and what repairing it would gain."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from connectomics.evaluation.skeletons import RunLengths, measure_runs
from connectomics.io.skeletons import Skeletons
from connectomics.roi import Triple, triple


@dataclass(frozen=True)
class SkeletonError:
    """One error of a segmentation along skeletons.

    Attributes
    ----------
    kind : str
        "split": an edge whose ends carry two labels (or 0); "merge": a label that holds edges of several
        skeletons.
    position : tuple of float
        nm, zyx: the middle of the split edge, or of the closest approach of two merged skeletons.
    cost_nm : float
        Expected run length, nm, that repairing this error alone would gain.
    labels : tuple of int
        The two labels at a split edge; the merged label.
    skeletons : tuple of int
        Ids (as the file numbers them) of the skeletons concerned.
    """

    kind: str
    position: Triple
    cost_nm: float
    labels: tuple[int, ...]
    skeletons: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for a report."""
        return {
            "kind": self.kind,
            "position_nm": list(self.position),
            "cost_nm": self.cost_nm,
            "labels": list(self.labels),
            "skeletons": list(self.skeletons),
        }


def skeleton_errors(labels: NDArray[Any], skeletons: Skeletons) -> list[SkeletonError]:
    """List every split edge and every merged label, the costliest first.

    Parameters
    ----------
    labels
        (n,) integers, the segment under each node, 0 = none.
    skeletons
        The truth, n nodes.

    Returns
    -------
    list of SkeletonError
        A background stretch lists each of its edges. Equal costs are ordered by kind and place.
    """
    runs = measure_runs(labels, skeletons)
    errors = _splits(runs, skeletons) + _merges(runs, skeletons)
    return sorted(errors, key=lambda error: (-error.cost_nm, error.kind, error.position))


def _splits(runs: RunLengths, skeletons: Skeletons) -> list[SkeletonError]:
    counted = {
        (int(label), int(axon)): float(length)
        for label, axon, length, merged in zip(
            runs.held_label, runs.held_axon, runs.held_length, runs.held_merged, strict=True
        )
        if not merged
    }
    total = float(runs.total.sum()) or 1.0
    errors = []
    for edge in np.flatnonzero(~runs.whole):
        first, second = skeletons.edges[edge]
        ends = (int(runs.labels[first]), int(runs.labels[second]))
        held = [counted.get((label, int(runs.axon[first])), 0.0) for label in set(ends)]
        joined = sum(held) + float(runs.lengths[edge])
        gain = joined**2 - sum(length**2 for length in held)
        middle = skeletons.nodes[[first, second]].mean(axis=0)
        ids = tuple(sorted({int(skeletons.ids[first]), int(skeletons.ids[second])}))
        errors.append(SkeletonError("split", triple(middle.tolist()), gain / total, ends, ids))
    return errors


def _merges(runs: RunLengths, skeletons: Skeletons) -> list[SkeletonError]:
    ends = skeletons.edges[runs.whole]
    held = np.unique(ends)  # nodes on an edge that is whole: a node touched alone is no merge
    held = held[np.argsort(runs.labels[held], kind="stable")]
    starts = np.searchsorted(runs.labels[held], runs.held_label)
    stops = np.searchsorted(runs.labels[held], runs.held_label, side="right")
    total = float(runs.total.sum()) or 1.0
    errors = []
    for label in np.unique(runs.held_label[runs.held_merged]):
        pairs = np.flatnonzero(runs.held_label == label)
        nodes = held[starts[pairs[0]] : stops[pairs[0]]]
        largest = runs.held_axon[pairs[np.argmax(runs.held_length[pairs])]]
        gain = float(np.sum(runs.held_length[pairs] ** 2))
        ids = tuple(np.unique(skeletons.ids[nodes]).tolist())
        place = _closest_approach(skeletons.nodes[nodes], runs.axon[nodes] == largest)
        errors.append(SkeletonError("merge", place, gain / total, (int(label),), ids))
    return errors


def _closest_approach(points: NDArray[np.float64], main: NDArray[np.bool_]) -> Triple:
    """The middle between the main skeleton and the nearest node of any other."""
    distance, nearest = cKDTree(points[main]).query(points[~main])
    other = int(np.argmin(distance))
    middle = (points[~main][other] + points[main][nearest[other]]) / 2
    return triple(middle.tolist())
