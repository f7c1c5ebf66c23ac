"""Every split edge and every merge as the XPRESS scorer counts them, with place and cost."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from connectomics.evaluation.nodes_in_region import NodesInRegion
from connectomics.evaluation.skeleton_errors import SkeletonError
from connectomics.evaluation.xpress import Held, who_holds_what
from connectomics.io.skeletons import connected_pieces
from connectomics.roi import triple


def xpress_errors(found: NodesInRegion) -> list[SkeletonError]:
    """List `n_split_edges` splits and `n_merged_edges` merges, the costliest first.

    Parameters
    ----------
    found
        The skeletons in the evaluated region and the labels under their nodes.

    Returns
    -------
    list of SkeletonError
        A split: the middle of the edge; both labels (0 = background). The edges across one stretch of
        background are one gap, and each of them carries what closing the whole gap would gain. A merge: where
        two axons under one label come nearest. `cost_nm` is run length (`erl`, nm): for a split, what joining
        its ends would gain (nothing where a label there is merged elsewhere); for a merge of k axons, what
        separating all would gain, shared out among the k (k - 1) / 2 pairs.
    """
    held = who_holds_what(found)
    first = found.edges[:, 0]
    _, name = np.unique(held.labels, return_inverse=True)
    pairs = np.stack([held.axon[first], name[first]])[:, held.whole]
    lengths: dict[tuple[int, int], float] = {}
    for axon, label, length in zip(*pairs.tolist(), found.lengths[held.whole].tolist(), strict=True):
        lengths[axon, label] = lengths.get((axon, label), 0.0) + length
    errors = [*_splits(found, held, name, lengths), *_merges(found, held, name, lengths)]
    return sorted(errors, key=lambda error: (-error.cost_nm, error.kind, error.position))


def _splits(
    found: NodesInRegion, held: Held, name: NDArray[np.intp], lengths: dict[tuple[int, int], float]
) -> Iterator[SkeletonError]:
    total = float(found.lengths.sum()) or 1.0
    broken = np.flatnonzero(~held.whole)
    gap = _gaps(found, broken)
    cost: dict[int, float] = {}
    for number, members in _groups(gap):
        edges = broken[members]
        ends = np.unique(found.edges[edges])
        ends = ends[found.labels[ends] != 0]
        axon = int(held.axon[found.edges[edges[0], 0]])
        parts = [lengths.get((axon, label), 0.0) for label in set(name[ends].tolist())]
        joined = sum(parts) + float(found.lengths[edges].sum())
        gain = 0.0 if held.merged[ends].any() else joined**2 - sum(part**2 for part in parts)
        cost[number] = gain / total
    nodes, ids = found.skeletons.nodes, found.skeletons.ids
    for edge, number in zip(broken.tolist(), gap.tolist(), strict=True):
        a, b = found.edges[edge].tolist()
        middle = triple(nodes[[a, b]].mean(axis=0).tolist())
        labels = (int(found.labels[a]), int(found.labels[b]))
        yield SkeletonError("split", middle, cost[number], labels, (int(ids[a]), int(ids[b])))


def _gaps(found: NodesInRegion, broken: NDArray[np.intp]) -> NDArray[np.int64]:
    """A number for each broken edge; edges that meet at background nodes have the same."""
    count = len(found.labels)
    empty = found.labels == 0
    first, second = found.edges[broken].T
    own = count + np.arange(broken.size)
    within = found.edges[empty[found.edges].all(axis=1)]
    links = [np.stack([own, end], axis=1)[empty[end]] for end in (first, second)]
    return connected_pieces(count + broken.size, np.concatenate([*links, within]))[count:]


def _groups(numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each number, and the places that carry it."""
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order])) + 1
    for members in np.split(order, cuts) if order.size else []:
        yield int(numbers[members[0]]), members


def _merges(
    found: NodesInRegion, held: Held, name: NDArray[np.intp], lengths: dict[tuple[int, int], float]
) -> Iterator[SkeletonError]:
    from scipy.spatial import cKDTree  # a fifth of a second that a score without a list does not pay

    total = float(found.lengths.sum()) or 1.0
    points, ids = found.skeletons.nodes, found.skeletons.ids
    for label, nodes in _groups(name.astype(np.int64)):
        axons = {number: nodes[members] for number, members in _groups(held.axon[nodes])}
        if len(axons) < 2:
            continue
        counts = bool(held.merged[nodes[0]])  # a merge that the run length does not see costs it nothing
        trees = {axon: cKDTree(points[members]) for axon, members in axons.items()}
        for a, b in combinations(sorted(axons), 2):
            distance, nearest = trees[a].query(points[axons[b]])
            other = int(np.argmin(distance))
            pair = points[[axons[a][nearest[other]], axons[b][other]]]
            squared = lengths.get((a, label), 0.0) ** 2 + lengths.get((b, label), 0.0) ** 2
            yield SkeletonError(
                "merge",
                triple(pair.mean(axis=0).tolist()),
                counts * squared / (len(axons) - 1) / total,
                (int(found.labels[nodes[0]]),),
                (int(ids[axons[a][0]]), int(ids[axons[b][0]])),
            )
