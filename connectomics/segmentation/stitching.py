"""Fragments of all blocks become fragments of the whole volume, numbered alike whatever the blocks were."""

from collections.abc import Iterable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.segmentation.union_find import flatten, join, join_two

Block = tuple[int, NDArray[np.uint64], NDArray[np.int64]]


def resolve(blocks: Sequence[Block], links: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Join the local fragments of all blocks and number the result.

    A node is a local fragment: the number of local fragments in all blocks before its own, plus its
    label - 1.

    Parameters
    ----------
    blocks
        For each block, in order: its number of local fragments, their keys (0 = unknown) and sizes.
    links
        (m, 2) pairs of nodes that are one fragment.

    Returns
    -------
    node_to_fragment
        (nodes,) uint64, fragments numbered 1..n in the order of their smallest key: where keys name the
        same voxels whatever the blocks (watershed, components), so are the numbers.

    Raises
    ------
    InputError
        A link names a node that does not exist, or a fragment has no key in any block (a link is missing).
    """
    for n, block_keys, sizes in blocks:
        if len(block_keys) != n or len(sizes) != n:
            raise InputError(
                f"stitching: a block of {n} fragments has {len(block_keys)} keys and {len(sizes)} sizes."
            )
    total = sum(n for n, _, _ in blocks)
    pairs = np.asarray(links, np.int64).reshape(-1, 2)
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= total):
        raise InputError(
            f"stitching: links must name nodes 0..{total - 1}, got {pairs.min()}..{pairs.max()}."
        )
    keys = np.concatenate([np.zeros(0, np.uint64), *(keys for _, keys, _ in blocks)])
    return number_fragments(keys, [pairs])


def number_fragments(keys: NDArray[np.uint64], links: Iterable[NDArray[np.int64]]) -> NDArray[np.uint64]:
    """What `resolve` does, for the keys of all nodes and links that come in pieces; 32 bytes per node.

    Raises
    ------
    InputError
        A fragment has no key in any block (a link is missing).
    """
    parent = np.arange(len(keys))
    for pairs in links:
        join(parent, pairs)
    order = np.argsort(keys)
    fragments, nameless = _numbered(keys, order, parent)
    if nameless:
        raise InputError(f"stitching: {nameless} local fragments have no name; a block's links are missing.")
    return fragments.view(np.uint64)


@njit(cache=True, nogil=True)
def _numbered(keys, order, parent):  # type: ignore[no-untyped-def]
    """Join nodes of equal keys, then number the sets in the order of their smallest key."""
    for k in range(1, len(order)):
        if keys[order[k]] != 0 and keys[order[k]] == keys[order[k - 1]]:
            join_two(parent, order[k - 1], order[k])
    flatten(parent)
    fragments, count = np.zeros(len(keys), np.int64), 0
    for node in order:
        if keys[node] != 0 and fragments[parent[node]] == 0:
            count += 1
            fragments[parent[node]] = count
    nameless = 0
    for node in range(len(keys)):  # roots come before their nodes
        fragments[node] = fragments[parent[node]]
        nameless += fragments[node] == 0
    return fragments, nameless


def mutual_best(votes: NDArray[np.int64], block_of_node: NDArray[np.int64]) -> NDArray[np.int64]:
    """The links that both sides want most, from votes.

    Parameters
    ----------
    votes
        (m, 2) pairs of nodes of two different blocks, one row per vote, in either order.
    block_of_node
        (nodes,) index of the block of each node.

    Returns
    -------
    links
        (k, 2) int64, u < v, sorted: for each pair of blocks, fragments that are each other's most voted
        partner (ties to the smaller node).
    """
    pairs = np.sort(np.asarray(votes, np.int64).reshape(-1, 2), axis=1)
    pairs, count = np.unique(pairs, axis=0, return_counts=True)
    best = np.ones(len(pairs), bool)
    for side in (0, 1):
        mine, other = pairs[:, side], pairs[:, 1 - side]
        order = np.lexsort((other, -count, block_of_node[other], mine))
        group = np.stack([mine[order], block_of_node[other[order]]], axis=1)
        first = np.ones(len(pairs), bool)
        first[1:] = (group[1:] != group[:-1]).any(axis=1)
        best[order] &= first
    return pairs[best]
