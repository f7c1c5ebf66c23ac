"""Maximin affinities: the weakest link of the best path between two points, for all pairs at once."""

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

_LEVELS = 4096
"""Steps to which affinities are rounded before they are sorted."""


def maximin_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Make points of one object connected, and points of different objects not, wherever paths lead.

    Between two points, the affinity of the best path is that of its weakest link, which is an edge of the
    maximum spanning tree. For each edge of that tree we count the pairs of labelled voxels that it
    decides; the loss is the mean cross-entropy over pairs of one object, and over pairs of two. Two trees
    are built (constrained MALIS, doi:10.1109/TPAMI.2018.2835450): for pairs of one object, over edges that
    are not known to cross a border; for pairs of two objects, with every edge known to lie inside an
    object taken as perfect. So the first raises only links inside objects, the second lowers only links
    between them.

    Parameters
    ----------
    logits
        (n, 3, z, y, x): affinities to the nearest neighbours at -z, -y, -x, before the sigmoid.
    labels
        (n, z, y, x) int: objects from 1, 0 = border or background, -1 = unknown. A skeleton is an object
        of few voxels amid unknown ones, through which paths may lead anywhere.

    Returns
    -------
    torch.Tensor
        Scalar; 0 where there is no pair to decide.
    """
    rows = []
    for one, ids in zip(logits, labels, strict=True):
        edges, together, apart = _decisive(one.detach(), ids)
        found = one.reshape(-1).index_select(0, edges).float()
        rows.append((functional.softplus(-found) * together + functional.softplus(found) * apart).sum())
    return torch.stack(rows).mean()


def _decisive(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Edges that decide pairs, and how much each counts as together and as apart: one half in all, or 0."""
    levels = (_LEVELS - (torch.sigmoid(logits.float()) * _LEVELS).round()).to(torch.int16).cpu().numpy()
    found = _two_trees(levels, labels.cpu().numpy().astype(np.int32))
    weights = [0.5 * pairs / max(pairs.sum(), 1) for pairs in (found[1], found[2])]
    together, apart = (torch.as_tensor(w, dtype=torch.float32).to(logits.device) for w in weights)
    return torch.as_tensor(found[0]).to(logits.device), together, apart


def _two_trees(
    levels: NDArray[np.int16], labels: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Edges, the pairs of one object that each decides in one tree, and those of two objects in the other.

    The second tree is sought among the edges of the first, those that the first may not use, and those
    known to lie inside: no other edge can be in it, because it closes a ring of stronger ones.
    """
    ids, strides = labels.ravel(), _strides(labels)
    inside, across = _known(ids, strides, labels.shape)
    order = _strongest_first(levels, labels.shape)
    edges, same, _, kept = _join(order, strides, ids, across)
    others, _, different, _ = _join(np.concatenate((inside, kept)), strides, ids, across[:0])
    deciding, none = np.concatenate((edges, others)), np.zeros_like
    return deciding, np.concatenate((same, none(different))), np.concatenate((none(same), different))


def _strides(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.array([labels.shape[1] * labels.shape[2], labels.shape[2], 1], np.int32)


def tree_pairs(
    affinities: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of labelled voxels that each edge of the maximum spanning tree decides.

    Parameters
    ----------
    affinities
        (3, z, y, x), 0..1, to the neighbours at -z, -y, -x; rounded to 1/4096 before they are compared.
    labels
        (z, y, x); voxels above 0 are paired.

    Returns
    -------
    same, different
        (3, z, y, x) int64: pairs of equal and of different labels whose best path has this edge as its
        weakest link; 0 for edges outside the tree.
    """
    levels = (_LEVELS - np.round(np.asarray(affinities, np.float32) * _LEVELS)).astype(np.int16)
    ids = np.ascontiguousarray(labels, np.int32)
    order = _strongest_first(levels, ids.shape)
    edges, *pairs, _ = _join(order, _strides(ids), ids.ravel(), np.zeros(0, np.bool_))
    same, different = np.zeros((2, 3 * ids.size), np.int64)
    same[edges], different[edges] = pairs
    return same.reshape(3, *ids.shape), different.reshape(3, *ids.shape)


@numba.njit(cache=True, nogil=True)
def _strongest_first(levels: NDArray[np.int16], shape: tuple[int, int, int]) -> NDArray[np.int32]:
    """Numbers of the edges, strongest (lowest level) first; ties in the order of the edges."""
    starts = np.zeros(_LEVELS + 2, np.int64)
    order = np.empty(0, np.int32)
    for counting in (True, False):
        for axis in range(3):
            for z in range(axis == 0, shape[0]):  # nothing lies before the first
                for y in range(axis == 1, shape[1]):
                    for x in range(axis == 2, shape[2]):
                        level = levels[axis, z, y, x]
                        if counting:
                            starts[level + 1] += 1
                        else:
                            edge = ((axis * shape[0] + z) * shape[1] + y) * shape[2] + x
                            order[starts[level]] = edge
                            starts[level] += 1
        if counting:
            starts = np.cumsum(starts)
            order = np.empty(starts[-1], np.int32)
    return order


@numba.njit(cache=True, nogil=True)
def _known(
    ids: NDArray[np.int32], strides: NDArray[np.int32], shape: tuple[int, int, int]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Edges known to lie inside an object, and for every edge whether it is known to cross a border."""
    n = len(ids)
    inside, used = np.empty(3 * n, np.int32), 0
    across = np.zeros(3 * n, np.bool_)
    for axis in range(3):
        for z in range(axis == 0, shape[0]):
            for y in range(axis == 1, shape[1]):
                for x in range(axis == 2, shape[2]):
                    voxel = (z * shape[1] + y) * shape[2] + x
                    a, b = ids[voxel], ids[voxel - strides[axis]]
                    if a > 0 and a == b:
                        inside[used] = axis * n + voxel
                        used += 1
                    elif a >= 0 and b >= 0:
                        across[axis * n + voxel] = True
    return inside[:used].copy(), across


@numba.njit(cache=True, nogil=True)
def _find(parent: NDArray[np.int32], node: int) -> int:
    """The root of a node; a root's own entry is minus the size of its component."""
    above = parent[node]
    while above >= 0:
        higher = parent[above]
        if higher < 0:
            return above
        parent[node] = higher
        node, above = higher, parent[higher]
    return node


@numba.njit(cache=True, nogil=True)
def _join(
    order: NDArray[np.int32], strides: NDArray[np.int32], labels: NDArray[np.int32], barred: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Join strongest first, but not over barred edges (none, where that is empty).

    A component keeps a list, sorted by label, of how many voxels of each it has. Returned are the edges
    that decide pairs, their pairs of equal and of different labels, and in order the edges that join or are
    barred.
    """
    n = len(labels)
    kept, joined = np.empty(len(order), np.int32), 0
    edges, deciding = np.empty(n, np.int64), 0
    pairs = np.empty((2, n), np.int64)
    parent = np.full(n, -1, np.int32)
    head = np.full(n, -1, np.int32)  # first entry of a component's list; entry i starts as voxel i's own
    following = np.full(n, -1, np.int32)
    count, total = np.ones(n, np.int64), np.zeros(n, np.int64)
    for i in range(n):
        if labels[i] > 0:
            head[i], total[i] = i, 1
    for edge in order:
        if len(barred) and barred[edge]:
            kept[joined] = edge
            joined += 1
            continue
        axis = (edge >= n) + (edge >= 2 * n)
        voxel = edge - axis * n
        a, b = _find(parent, voxel), _find(parent, voxel - strides[axis])
        if a == b:
            continue
        if parent[a] > parent[b]:
            a, b = b, a
        parent[a] += parent[b]
        parent[b] = a
        kept[joined] = edge
        joined += 1
        if total[b]:
            if total[a]:
                head[a], equal = _merge_lists(head[a], head[b], labels, following, count)
                edges[deciding] = edge
                pairs[0, deciding], pairs[1, deciding] = equal, total[a] * total[b] - equal
                deciding += 1
            else:
                head[a] = head[b]
            total[a] += total[b]
    return edges[:deciding], pairs[0, :deciding], pairs[1, :deciding], kept[:joined]


@numba.njit(cache=True, nogil=True)
def _merge_lists(
    i: int, j: int, labels: NDArray[np.int32], following: NDArray[np.int32], count: NDArray[np.int64]
) -> tuple[int, int]:
    """Merge two lists sorted by label, adding up what both hold: first entry, pairs of one label."""
    equal, first, last = 0, -1, -1
    while i >= 0 and j >= 0:
        taken = i if labels[i] <= labels[j] else j
        if labels[i] == labels[j]:
            equal += count[i] * count[j]
            count[i] += count[j]
            i, j = following[i], following[j]
        elif taken == i:
            i = following[i]
        else:
            j = following[j]
        if last < 0:
            first = taken
        else:
            following[last] = taken
        last = taken
    rest = i if i >= 0 else j
    if last < 0:
        first = rest
    else:
        following[last] = rest
    return first, equal
