"""Which parts of a region graph can be agglomerated apart, and give exactly what the whole gives.

Join all fragments that an edge above the threshold joins; call the sets components. Then no segment reaches
beyond its component, and each component's merges are those that it would make alone:

1. The affinity between two segments, over all voxel pairs between them, is at most the largest of their
   edges. For the mean it is their weighted mean. For the percentile p: if no edge's percentile exceeds q,
   then of each edge's n voxel pairs at least p n / 100 are not above q, and so are p N / 100 of all N.
2. So two segments are merged only where one of their edges is above the threshold, and that edge lies inside
   a component. By induction over the merges, every segment lies inside a component.
3. What `merging.merge_greedily` does next depends on affinities and, among equals, on the first edge that
   each stands for. Merges in one component change neither in another. So the merges of the whole, read
   component by component, are those of the components: a part that keeps its edges in order keeps all.

By 1 the strongest affinity never rises while merging goes on, so merging down to a threshold passes through
the state of every higher one. Where a component is too large for one process, the graph is first
agglomerated down to a level at which components are small, segments become the fragments of a smaller graph,
and the rest goes on from there: the merges are the same again (`first` remembers who counts as first).
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from connectomics.segmentation.edge_rows import EdgeRows
from connectomics.segmentation.union_find import flatten, join

Parts = Callable[[], Iterable[EdgeRows]]
"""Gives the edges of a graph part by part, as often as it is called."""


def components(parts: Parts, fragments: int, percent: int | None, level: float) -> NDArray[np.int64]:
    """The component of every fragment id 0..fragments, named by its smallest member.

    Parameters
    ----------
    parts
        The edges.
    fragments
        Number of fragments.
    percent
        Which percentile an edge's affinity is; None: the mean.
    level
        Edges above this (0..255) join.
    """
    parent = np.arange(fragments + 1)
    for part in parts():
        strong = part.rows[part.affinity(percent) > level]
        join(parent, np.stack([strong["u"], strong["v"]], axis=1))
    flatten(parent)
    return parent


def component_edges(parts: Parts, component: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many edges lie inside each component, at the place of its name."""
    inside = np.zeros(len(component), np.int64)
    for part in parts():
        u, v = component[part.rows["u"]], component[part.rows["v"]]
        np.add.at(inside, u[u == v], 1)
    return inside


def batches(inside: NDArray[np.int64], edges: int) -> tuple[NDArray[np.int32], int]:
    """Put components together into batches of about `edges` edges, the largest first.

    Returns
    -------
    batch
        Of each component, at the place of its name; -1 where nothing is to do.
    number
        Of batches.
    """
    batch = np.full(len(inside), -1, np.int32)
    names = np.flatnonzero(inside)
    names = names[np.argsort(-inside[names], kind="stable")]
    before = np.cumsum(inside[names]) - inside[names]
    used, numbers = np.unique(before // edges, return_inverse=True)
    batch[names] = numbers
    return batch, len(used)


def choose_level(fits: Callable[[float], bool], goal: float, reached: float) -> float:
    """The lowest level, at least `goal` and below `reached`, whose components are small enough.

    Levels between are whole numbers (0..255). Where none is small enough it is the highest: after it the
    graph is smaller.

    Parameters
    ----------
    fits
        Whether the components of a level are small enough; where they are, those of higher levels are too.
    goal
        The threshold to be reached in the end.
    reached
        The level that the graph has been agglomerated down to.
    """
    if fits(goal):
        return goal
    levels = [float(level) for level in range(int(np.floor(goal)) + 1, int(np.ceil(reached)))]
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(levels[middle]) else (middle + 1, high)
    return levels[min(low, len(levels) - 1)] if levels else goal
