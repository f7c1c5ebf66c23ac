"""The region graph inside one segment, pieces of cut fragments included, and its partition by seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.proofreading.edge_table import EdgeTable
from connectomics.proofreading.edits import Cut
from connectomics.proofreading.lookup import positions
from connectomics.proofreading.mapping import SegmentMap
from connectomics.segmentation.union_find import find_root

ONE_FRAGMENT = 1.0
"""Weight of the contact of two pieces of one fragment: nothing but seeds keeps them apart."""

BY_HAND = 0.0
"""Weight of a merge that a person made: what it joined hangs together, and parts there before elsewhere."""

Links = tuple[NDArray[np.int64], NDArray[np.float64]]
"""(n, 2) positions in a list of fragments, and a weight for each pair: how surely they are one."""


def links_among(
    names: NDArray[np.int64], edges: EdgeTable, mapping: SegmentMap, more_cuts: Sequence[Cut] = ()
) -> Links:
    """How some fragments and pieces hang together.

    Parameters
    ----------
    names
        Fragments and pieces, ascending.
    edges
        The region graph.
    mapping
        Knows the cuts and the merges that hold.
    more_cuts
        Cuts that are not applied yet.
    """
    cuts = [*mapping.cuts, *more_cuts]
    root = _roots(cuts)
    roots = np.unique([root.get(name, name) for name in names.tolist()]).astype(np.int64)
    found = edges.among(roots)
    ends, weights = found.ends, found.mean.astype(np.float64)
    made: list[tuple[int, int, float]] = []
    if cuts:
        mean = {(u, v): w for (u, v), w in zip(ends.tolist(), weights.tolist(), strict=True)}
        here = set(names.tolist())
        for cut in cuts:
            for number, other, _ in cut.contacts:
                a, b = cut.pieces[number - 1], other
                pair = sorted((root.get(a, a), root.get(b, b)))
                weight = ONE_FRAGMENT if pair[0] == pair[1] else mean.get((pair[0], pair[1]))
                if a in here and b in here and weight is not None:
                    made.append((a, b, weight))
    pairs, there = positions(
        names, np.concatenate([ends, np.array([m[:2] for m in made], np.int64).reshape(-1, 2)])
    )
    by_hand = mapping.merged_by_hand(names)
    weights = np.concatenate([weights, [m[2] for m in made]])[there]
    return np.concatenate([pairs, by_hand]), np.concatenate([weights, np.full(len(by_hand), BY_HAND)])


def _roots(cuts: Sequence[Cut]) -> Mapping[int, int]:
    """The fragment that each piece was once part of."""
    found: dict[int, int] = {}
    for cut in cuts:
        for piece in cut.pieces:
            found[piece] = found.get(cut.fragment, cut.fragment)
    return found


def grow_seeds(seeds: NDArray[np.int64], links: Links) -> NDArray[np.int64]:
    """Give every fragment the group of a seed, the strongest links first (a watershed of a graph).

    Parameters
    ----------
    seeds
        (n,) group of each fragment, 1, 2, ..., 0 where it is no seed.
    links
        Between them; of equal ones the first counts as the stronger.

    Returns
    -------
    ndarray of int64, (n,)
        Groups; 0 where no seed is reached.
    """
    pairs, weights = links
    order = np.argsort(-weights, kind="stable")
    return np.asarray(_grow(seeds.astype(np.int64), pairs[order].astype(np.int64)))


@njit(cache=True, nogil=True)
def _grow(seeds, pairs):  # type: ignore[no-untyped-def]
    parent, group = np.arange(len(seeds)), seeds.copy()
    for k in range(len(pairs)):
        a, b = find_root(parent, pairs[k, 0]), find_root(parent, pairs[k, 1])
        if a != b and (group[a] == 0 or group[b] == 0 or group[a] == group[b]):
            parent[b] = a
            group[a] = max(group[a], group[b])
    for node in range(len(seeds)):
        seeds[node] = group[find_root(parent, node)]
    return seeds
