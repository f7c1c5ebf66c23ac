"""The XPRESS challenge's scores as the official scorer counts them, each oddity a rule of its own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.evaluation.nodes_in_region import NodesInRegion

Figures = dict[str, float | int]

_EXACT_IN_FLOAT = 2**53


@dataclass(frozen=True)
class Rules:
    """What the official scorer does that one would not expect; True is official.

    Attributes
    ----------
    first_axon_is_background : bool
        Rand and VOI do not count the axon of the first node: it is drawn with the value 0.
    stray_node_merges : bool
        One node of another axon under a label, even without an edge, takes all that the label holds.
    labels_as_floats : bool
        Merges are looked for among labels turned to float64: those above 2^53 may be missed.
    reentry_is_a_new_axon : bool
        An axon that leaves the region and comes back is two, and one label over both is a merge.
    background_voxel_is_an_object : bool
        Nodes in one voxel of label 0 count as found together.
    background_is_never_merged : bool
        For Rand and VOI every node (voxel) of label 0 is an object of its own, not one label like any other.
    divided_by_mean_length : bool
        `erl_norm` is the run length over the mean length of an axon, not over the largest possible.
    """

    first_axon_is_background: bool = True
    stray_node_merges: bool = True
    labels_as_floats: bool = True
    reentry_is_a_new_axon: bool = True
    background_voxel_is_an_object: bool = True
    background_is_never_merged: bool = True
    divided_by_mean_length: bool = True


OFFICIAL = Rules()


@dataclass(frozen=True, eq=False)
class Held:
    """Who holds what, as one set of rules sees it.

    Attributes
    ----------
    labels : ndarray of uint64, (n,)
        Label of each node; a background node has one of its own, above all that the region holds.
    axon : ndarray of int64, (n,)
        Axon of each node, numbered from 0 by first node.
    whole : ndarray of bool, (m,)
        Edges whose two ends carry one label.
    merged : ndarray of bool, (n,)
        Nodes whose label counts as merged: none of what it holds counts.
    """

    labels: NDArray[np.uint64]
    axon: NDArray[np.int64]
    whole: NDArray[np.bool_]
    merged: NDArray[np.bool_]


def xpress_figures(found: NodesInRegion, rules: Rules = OFFICIAL) -> Figures:
    """Every figure of the official scorer.

    Parameters
    ----------
    found
        The skeletons in the evaluated region and the labels under their nodes.
    rules
        Which of the official oddities hold.

    Returns
    -------
    dict
        ``n_neurons``, ``n_split_edges``, ``n_merged_edges``, ``erl`` (nm), ``erl_norm``, ``rand_split``,
        ``rand_merge``, ``nvi_split``, ``nvi_merge``, ``xpress_rand``, ``xpress_voi``,
        ``xpress_erl_rand`` (the rank), ``xpress_erl_voi``. NaN where there is nothing to divide by.

    References
    ----------
    XPRESS challenge, arXiv:2302.03819 (2023).
    """
    held = who_holds_what(found, rules)
    erl, erl_norm = _run_length(found, held, rules)
    overlap = _overlap(found, held, rules)
    rand = (overlap["rand_split"] + overlap["rand_merge"]) / 2
    voi = 1 - (overlap["nvi_split"] + overlap["nvi_merge"]) / 2
    return {
        "n_neurons": int(held.axon.max(initial=-1)) + 1,
        "n_split_edges": int(np.count_nonzero(~held.whole)),
        "n_merged_edges": _merged_pairs(held),
        "erl": erl,
        "erl_norm": erl_norm,
        **overlap,
        "xpress_rand": rand,
        "xpress_voi": voi,
        "xpress_erl_rand": (erl_norm + rand) / 2,
        "xpress_erl_voi": (erl_norm + voi) / 2,
    }


def who_holds_what(found: NodesInRegion, rules: Rules = OFFICIAL) -> Held:
    """Give background nodes labels of their own, and find the whole edges and the merged labels."""
    axon = found.axon if rules.reentry_is_a_new_axon else found.whole_axon
    labels = label_background(found, shared=rules.background_voxel_is_an_object)
    first, second = found.edges.T
    whole = labels[first] == labels[second]
    if rules.stray_node_merges:
        merged = _merged(labels, axon, rules.labels_as_floats)
    else:
        holding = np.unique(found.edges[whole])
        names = np.unique(labels[holding][_merged(labels[holding], axon[holding], rules.labels_as_floats)])
        merged = np.isin(labels, names)
    return Held(labels, axon, whole, merged)


def label_background(found: NodesInRegion, *, shared: bool = True) -> NDArray[np.uint64]:
    """Labels in which each background node has its own, from `found.highest` + 1 in the order of the nodes.

    Nodes in one voxel share it where `shared` is set.
    """
    labels = found.labels.copy()
    empty = np.flatnonzero(labels == 0)
    places = found.voxels[empty] if shared else np.arange(empty.size)
    _, first, group = np.unique(places, return_index=True, return_inverse=True)
    rank = np.empty(first.size, np.uint64)
    rank[np.argsort(first)] = np.arange(1, first.size + 1, dtype=np.uint64)
    labels[empty] = np.uint64(found.highest) + rank[group]
    return labels


def _merged(labels: NDArray[np.uint64], axon: NDArray[np.int64], as_floats: bool) -> NDArray[np.bool_]:
    """Nodes whose label is found in two axons or more."""
    names, name = np.unique(labels, return_inverse=True)
    if not as_floats:
        return (_axons_of(name, axon, names.size) > 1)[name]
    rounded, group = np.unique(names.astype(np.float64), return_inverse=True)
    exact = names <= _EXACT_IN_FLOAT
    exact[~exact] = [int(float(label)) == label for label in names[~exact].tolist()]
    return ((_axons_of(group[name], axon, rounded.size) > 1)[group] & exact)[name]


def _axons_of(name: NDArray[np.intp], axon: NDArray[np.int64], count: int) -> NDArray[np.intp]:
    """In how many axons each name is found."""
    pairs = np.unique(np.stack([name, axon]), axis=1)
    return np.bincount(pairs[0], minlength=count)


def _merged_pairs(held: Held) -> int:
    """Unordered pairs of axons that one label joins, over all labels."""
    names, name = np.unique(held.labels, return_inverse=True)
    axons = _axons_of(name, held.axon, names.size)
    return int(np.sum(axons * (axons - 1) // 2))


def _run_length(found: NodesInRegion, held: Held, rules: Rules) -> tuple[float, float]:
    """Expected run length, nm, and the same over the mean length of an axon."""
    first, lengths = found.edges[:, 0], found.lengths
    total = np.bincount(held.axon[first], weights=lengths)
    correct = held.whole & ~held.merged[first]
    if not rules.background_voxel_is_an_object:
        correct &= found.labels[first] != 0
    _, label = np.unique(held.labels[first][correct], return_inverse=True)
    pairs = np.stack([held.axon[first][correct], label])
    _, group = np.unique(pairs, axis=1, return_inverse=True)
    runs = np.bincount(group.ravel(), weights=lengths[correct])
    whole_length = float(total.sum())
    erl = float(np.sum(runs**2)) / whole_length if whole_length else 0.0
    with_length = total[total > 0]
    if not with_length.size:
        return erl, float("nan")
    scale = with_length.mean() if rules.divided_by_mean_length else np.sum(with_length**2) / whole_length
    return erl, float(erl / scale)


def _overlap(found: NodesInRegion, held: Held, rules: Rules) -> dict[str, float]:
    """Rand and normalised VOI over the voxels that hold nodes; in a shared voxel the later axon counts."""
    order = np.lexsort((held.axon, found.voxels))
    last = np.append(np.diff(found.voxels[order]) != 0, True) if order.size else np.zeros(0, bool)
    labels = held.labels if rules.background_is_never_merged else found.labels
    truth, label = held.axon[order][last], labels[order][last]
    if rules.first_axon_is_background:
        truth, label = truth[truth != 0], label[truth != 0]
    _, label_number = np.unique(label, return_inverse=True)
    pairs, joint = np.unique(np.stack([truth, label_number]), axis=1, return_counts=True)
    of_truth = np.bincount(pairs[0], weights=joint) if joint.size else np.zeros(0)
    of_label = np.bincount(pairs[1], weights=joint) if joint.size else np.zeros(0)
    together = float(np.sum(joint.astype(np.float64) ** 2))
    entropy = _entropy(joint)
    return {
        "rand_split": _ratio(together, float(np.sum(of_truth**2))),
        "rand_merge": _ratio(together, float(np.sum(of_label**2))),
        "nvi_split": _ratio(entropy - _entropy(of_truth), entropy),
        "nvi_merge": _ratio(entropy - _entropy(of_label), entropy),
    }


def _entropy(counts: NDArray[np.floating] | NDArray[np.integer]) -> float:
    counts = counts[counts > 0].astype(np.float64)
    share = counts / counts.sum() if counts.size else counts
    return float(-np.sum(share * np.log2(share)))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
