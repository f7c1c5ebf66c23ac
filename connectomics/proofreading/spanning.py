"""The tree of the surest links of a segment, and how much lies on either side of each."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.segmentation.union_find import find_root


def sides(
    pairs: NDArray[np.int64], sureness: NDArray[np.floating], weights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How much hangs on the segment by each link of its spanning tree.

    Of all ways to part two fragments, the link of the tree between them is the surest that would have to be
    wrong; links outside the tree part nothing by themselves.

    Parameters
    ----------
    pairs
        (n, 2) positions of fragments.
    sureness
        (n,) how surely both ends are one; of equal ones the first counts as the surer.
    weights
        Size of each fragment.

    Returns
    -------
    ndarray of int64, (n,)
        Size of the part that a link of the tree holds on to, -1 for links outside the tree.

    Examples
    --------
    >>> line = np.array([[0, 1], [1, 2], [0, 2]])
    >>> sides(line, np.array([0.9, 0.8, 0.1]), np.array([5, 6, 7])).tolist()
    [13, 7, -1]
    """
    order = np.argsort(-sureness, kind="stable")
    found = np.full(len(pairs), -1, np.int64)
    found[order] = _sides(pairs[order], weights.astype(np.int64))
    return found


@njit(cache=True, nogil=True)
def _sides(pairs, weights):  # type: ignore[no-untyped-def]
    number = len(weights)
    first, following, result = _tree(pairs, number)
    up, seen = np.full(number, -1, np.int64), np.zeros(number, np.bool_)
    order, used, begin = np.empty(number, np.int64), 0, 0
    for root in range(number):  # breadth first from the smallest fragment of each part
        if not seen[root]:
            seen[root] = True
            order[used] = root
            used += 1
        while begin < used:
            half = first[order[begin]]
            begin += 1
            while half >= 0:
                other = pairs[half // 2, 1 - half % 2]
                if not seen[other]:
                    seen[other] = True
                    up[other] = half // 2
                    order[used] = other
                    used += 1
                half = following[half]
    below = weights.copy()
    for place in range(number - 1, -1, -1):
        node = order[place]
        link = up[node]
        if link >= 0:
            result[link] = below[node]
            below[pairs[link, 0] if pairs[link, 1] == node else pairs[link, 1]] += below[node]
    return result


@njit(cache=True, nogil=True)
def _tree(pairs, number):  # type: ignore[no-untyped-def]
    """Kruskal. The links of each fragment as a list of halves: half h is end h % 2 of link h // 2."""
    parent = np.arange(number)
    first, following = np.full(number, -1, np.int64), np.full(2 * len(pairs), -1, np.int64)
    result = np.full(len(pairs), -1, np.int64)
    for link in range(len(pairs)):
        a, b = find_root(parent, pairs[link, 0]), find_root(parent, pairs[link, 1])
        if a == b:
            continue
        parent[b] = a
        result[link] = 0
        for side in range(2):
            end = pairs[link, side]
            following[2 * link + side] = first[end]
            first[end] = 2 * link + side
    return first, following, result
