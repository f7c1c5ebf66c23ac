"""Maximin affinities: the weakest link of the best path between two points, for all pairs at once."""

from collections.abc import Sequence

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from connectomics.affinities import NEAREST, pair_slices

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
    with torch.no_grad():
        weights = torch.stack([_weights(*pair) for pair in zip(logits.detach(), labels, strict=True)])
    together, apart = weights[:, 0], weights[:, 1]
    loss = functional.softplus(-logits) * together + functional.softplus(logits) * apart
    return loss.sum() / len(logits)


def _weights(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(2, 3, z, y, x): how much each edge counts as together and as apart; each sums to one half or 0."""
    affinities = torch.sigmoid(logits.float()).cpu().numpy()
    ids, known = labels.cpu().numpy().astype(np.int64), _known_edges(labels.cpu().numpy())
    within = tree_pairs(np.where(known == 0, -1, affinities), ids)[0] * (known != 0)
    between = tree_pairs(np.where(known == 1, 1, affinities), ids)[1] * (known != 1)
    found = np.stack([within, between]).astype(np.float64)
    found *= 0.5 / np.maximum(found.sum((1, 2, 3, 4), keepdims=True), 1)
    return torch.as_tensor(found, dtype=torch.float32).to(logits.device)


def _known_edges(labels: NDArray[np.integer]) -> NDArray[np.int8]:
    """What the labels say of each edge (3, z, y, x): 1 inside an object, 0 across a border, -1 nothing."""
    known = np.full((3, *labels.shape), -1, np.int8)
    for channel, offset in enumerate(NEAREST):
        here, there = pair_slices(offset)
        a, b = labels[here], labels[there]
        known[channel][here] = np.where((a < 0) | (b < 0), -1, (a == b) & (a > 0))
    return known


def tree_pairs(
    affinities: NDArray[np.floating], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of labelled voxels that each edge of the maximum spanning tree decides.

    Parameters
    ----------
    affinities
        (3, z, y, x), 0..1, to the neighbours at -z, -y, -x; an edge below 0 does not exist.
    labels
        (z, y, x); voxels above 0 are paired.

    Returns
    -------
    same, different
        (3, z, y, x) int64: pairs of equal and of different labels whose best path has this edge as its
        weakest link; 0 for edges outside the tree.
    """
    values = np.ascontiguousarray(affinities, np.float32).reshape(3, -1)
    shape = labels.shape
    order = _strongest_first(values, shape)
    strides = np.array([shape[1] * shape[2], shape[2], 1], np.int64)
    same, different = _kruskal(order, strides, np.ascontiguousarray(labels).ravel())
    return same.reshape(3, *shape), different.reshape(3, *shape)


def _strongest_first(values: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the existing edges, strongest first; ties in the order of the edges."""
    exists = (values >= 0).reshape(3, *shape)
    exists[0, 0], exists[1, :, 0], exists[2, :, :, 0] = False, False, False  # nothing lies before the first
    edges = np.flatnonzero(exists)
    level = (_LEVELS - np.round(values.ravel()[edges] * _LEVELS)).astype(np.uint16)
    return edges[np.argsort(level, kind="stable")]  # 16 bits: a radix sort


@numba.njit(cache=True, nogil=True)
def _find(parent: NDArray[np.int32], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True, nogil=True)
def _kruskal(
    order: NDArray[np.int64], strides: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Join strongest first; a component keeps a list, sorted by label, of how many voxels of each it has."""
    n = len(labels)
    same, different = np.zeros(3 * n, np.int64), np.zeros(3 * n, np.int64)
    parent = np.arange(n).astype(np.int32)
    size = np.ones(n, np.int32)
    head = np.full(n, -1, np.int32)  # first entry of a component's list; entry i starts as voxel i's own
    following = np.full(n, -1, np.int32)
    count = np.ones(n, np.int64)
    total = np.zeros(n, np.int64)
    for i in range(n):
        if labels[i] > 0:
            head[i], total[i] = i, 1
    for edge in order:
        voxel = edge % n
        a, b = _find(parent, voxel), _find(parent, voxel - strides[edge // n])
        if a == b:
            continue
        if size[a] < size[b]:
            a, b = b, a
        first, equal = _merge_lists(head[a], head[b], labels, following, count)
        head[a] = first
        same[edge] = equal
        different[edge] = total[a] * total[b] - equal
        total[a] += total[b]
        parent[b] = a
        size[a] += size[b]
    return same, different


@numba.njit(cache=True, nogil=True)
def _merge_lists(
    i: int, j: int, labels: NDArray[np.int64], following: NDArray[np.int32], count: NDArray[np.int64]
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
