"""Expected run length: how far one can follow an axon in a segmentation before the first error."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.io.skeletons import Skeletons, connected_pieces


@dataclass(frozen=True, eq=False)
class RunLengths:
    """Which length of which skeleton each label holds, and which of it counts.

    Attributes
    ----------
    labels : ndarray of uint64, (n,)
        Label at each node.
    axon : ndarray of int64, (n,)
        Skeleton of each node, 0..number - 1, numbered by first node.
    number : int
        How many skeletons there are.
    lengths : ndarray of float64, (m,)
        Length of each edge, nm.
    whole : ndarray of bool, (m,)
        Edges whose two ends carry one label, not 0.
    total : ndarray of float64, (number,)
        Length of each skeleton, nm.
    held_label, held_axon, held_length, held_merged : ndarray, (k,)
        Each pair (label, skeleton) with an edge that is whole: its length in nm, sorted by label, then
        skeleton, and whether the label also holds an edge of another skeleton, so that none of it counts.
    """

    labels: NDArray[np.uint64]
    axon: NDArray[np.int64]
    number: int
    lengths: NDArray[np.float64]
    whole: NDArray[np.bool_]
    total: NDArray[np.float64]
    held_label: NDArray[np.uint64]
    held_axon: NDArray[np.int64]
    held_length: NDArray[np.float64]
    held_merged: NDArray[np.bool_]


def measure_runs(labels: NDArray[Any], skeletons: Skeletons) -> RunLengths:
    """Sort the length of every edge by label and skeleton.

    Parameters
    ----------
    labels
        (n,) integers, the segment under each node, 0 = none.
    skeletons
        n nodes; nodes of one id are one skeleton even in pieces (an axon that leaves and re-enters), and so
        are nodes joined by edges.

    Raises
    ------
    InputError
        Not one non-negative integer label per node.
    """
    labels = _parse_labels(labels, len(skeletons))
    axon, number = number_axons(skeletons)
    lengths = skeletons.lengths
    first, second = skeletons.edges[:, 0], skeletons.edges[:, 1]
    whole = (labels[first] == labels[second]) & (labels[first] != 0)
    held_label, held_axon, held_length = _held(labels[first][whole], axon[first][whole], lengths[whole])
    names, held_name = np.unique(held_label, return_inverse=True)
    axons_of_label = np.bincount(held_name, minlength=names.size)
    return RunLengths(
        labels=labels,
        axon=axon,
        number=number,
        lengths=lengths,
        whole=whole,
        total=_sums(axon[first], lengths, number),
        held_label=held_label,
        held_axon=held_axon,
        held_length=held_length,
        held_merged=axons_of_label[held_name] > 1,
    )


def _held(
    labels: NDArray[np.uint64], axons: NDArray[np.int64], lengths: NDArray[np.float64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.float64]]:
    """The pairs (label, skeleton) of edges, sorted, and the length of each."""
    order = np.lexsort((axons, labels))
    labels, axons = labels[order], axons[order]
    new = np.ones(labels.size, bool)
    new[1:] = (labels[1:] != labels[:-1]) | (axons[1:] != axons[:-1])
    return labels[new], axons[new], _sums(np.cumsum(new) - 1, lengths[order], int(new.sum()))


def _sums(groups: NDArray[np.int64], values: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    return np.bincount(groups, weights=values, minlength=number).astype(np.float64)


def skeleton_scores(labels: NDArray[Any], skeletons: Skeletons) -> dict[str, float | int]:
    """Expected run length (ERL) of a segmentation over skeletons, and its share of the largest possible.

    With c(s, l) the length of skeleton s that label l holds and L_s the length of s:
    ERL = sum of c^2 / sum of L_s, the length that a walk from a random point can be expected to cover;
    NERL = sum of c^2 / sum of L_s^2, so 1 is perfect. An edge counts when both its ends carry one label
    that is not 0 and holds edges of this skeleton only: everything that a merged label holds counts
    nothing. A label that only touches a node of another skeleton is no merge. Labels compare as integers.

    Parameters
    ----------
    labels
        (n,) integers, the segment under each node, 0 = none; see `sampling.labels_at_nodes`.
    skeletons
        The truth, n nodes. Nodes of one id are one skeleton, even in several pieces.

    Returns
    -------
    dict
        ``erl_nm`` and ``nerl`` (NaN when no edge has a length), ``n_truth`` (skeletons), ``n_segments``
        (labels found at nodes).

    References
    ----------
    Januszewski et al., High-precision automated reconstruction of neurons with flood-filling networks,
    Nature Methods, 2018. DOI 10.1038/s41592-018-0049-4
    """
    return scores_of_runs(measure_runs(labels, skeletons))


def scores_of_runs(runs: RunLengths) -> dict[str, float | int]:
    """The scores of `skeleton_scores` from lengths already measured."""
    squared = float(np.sum(runs.held_length[~runs.held_merged] ** 2))
    length, best = float(runs.total.sum()), float(np.sum(runs.total**2))
    return {
        "erl_nm": squared / length if length else float("nan"),
        "nerl": squared / best if best else float("nan"),
        "n_truth": runs.number,
        "n_segments": int(np.count_nonzero(np.unique(runs.labels))),
    }


def number_axons(skeletons: Skeletons) -> tuple[NDArray[np.int64], int]:
    """Number the skeletons 0, 1, ... by first node; one id or a chain of edges makes one skeleton."""
    _, first, of_node = np.unique(skeletons.ids, return_index=True, return_inverse=True)
    same_id = np.stack([np.arange(len(skeletons)), first[of_node]], axis=1)
    axon = connected_pieces(len(skeletons), np.concatenate([skeletons.edges, same_id]))
    return axon, int(axon.max(initial=-1)) + 1


def _parse_labels(labels: NDArray[Any], nodes: int) -> NDArray[np.uint64]:
    labels = np.asarray(labels)
    if labels.shape != (nodes,):
        raise InputError(f"labels: expected one for each of {nodes} nodes, got shape {labels.shape}.")
    if labels.size and labels.dtype.kind not in "uib":
        raise InputError(f"labels: must be integers, got {labels.dtype}.")
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise InputError(f"labels: must not be negative, got {labels.min()}; use 0 for background.")
    return labels.astype(np.uint64)
