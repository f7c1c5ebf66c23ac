"""Union-find in compiled code: sets of nodes, each node pointing towards the root of its set."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def union(n: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest node of the set of each of `n` nodes, given (m, 2) pairs of one set."""
    parent = np.arange(n)
    join(parent, pairs)
    flatten(parent)
    return parent


@njit(cache=True, nogil=True, inline="always")
def find_root(parent, node):  # type: ignore[no-untyped-def]
    """The root of a node's set; the way there is halved (a root is its own parent)."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def join(parent, pairs):  # type: ignore[no-untyped-def]
    """Note in `parent` (at first ``arange(n)``) that both nodes of each pair are of one set."""
    for k in range(len(pairs)):
        join_two(parent, pairs[k, 0], pairs[k, 1])


@njit(cache=True, nogil=True)
def join_two(parent, a, b):  # type: ignore[no-untyped-def]
    """Note that two nodes are of one set; the smaller root stays one."""
    a, b = find_root(parent, a), find_root(parent, b)
    if a < b:
        parent[b] = a
    else:
        parent[a] = b


@njit(cache=True, nogil=True)
def flatten(parent):  # type: ignore[no-untyped-def]
    """Make every entry of `parent` the smallest node of its set."""
    for node in range(len(parent)):  # parents are never larger than their nodes
        parent[node] = parent[parent[node]]
