"""The edges worth a look: the best of a region graph of any size, gathered a piece at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.proofreading.edge_table import Edges, joined
from connectomics.proofreading.output import Output

KEPT = 200_000
"""Edges of a queue at most (about 60 MB); when these are decided, the next session gathers others."""

Value = Callable[[Edges, NDArray[np.bool_], NDArray[np.int64]], NDArray[np.floating[Any]]]
"""What edges are worth at most: edges, whether `segment` merged them, (n, 2) segments found."""


@dataclass(frozen=True)
class Pool:
    """Edges of which candidates are made; one row each.

    Attributes
    ----------
    edges : Edges
    merged : (n,) bool
        Whether both ends were found to be one segment.
    found : (n, 2) int64
        The segments that were found.
    same : (n,) float32
        Probability that both ends are one object.
    """

    edges: Edges
    merged: NDArray[np.bool_]
    found: NDArray[np.int64]
    same: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.merged)

    @classmethod
    def of(cls, edges: Edges, lut: NDArray[np.int64]) -> "Pool":
        """All of some edges."""
        found = lut[edges.ends]
        merged = found[:, 0] == found[:, 1]
        same = np.where(merged, 1 - edges.p_wrong, edges.p_wrong).astype(np.float32)
        return cls(edges, merged, found, same)

    def taken(self, which: NDArray[Any]) -> "Pool":
        """Some of them."""
        return Pool(self.edges.taken(which), self.merged[which], self.found[which], self.same[which])


def gather(output: Output, value: Value, kept: int = KEPT) -> Pool:
    """The edges of highest value, in the order of the table.

    Edges of fragments that were dropped as too small are left out. All contacts of two segments are kept: one
    of these may be two objects, and then each of its parts has contacts of its own.
    """
    lut = output.lut.view(np.int64)
    best, worth = Pool.of(output.edges.read(0, 0), lut), np.zeros(0)
    for piece in output.edges.pieces():
        new = Pool.of(piece, lut)
        new = new.taken(np.flatnonzero((new.found > 0).all(axis=1)))
        best = _joined(best, new)
        worth = np.concatenate([worth, value(new.edges, new.merged, new.found)])
        if len(best) > kept:
            which = np.sort(np.argsort(-worth, kind="stable")[:kept])
            best, worth = best.taken(which), worth[which]
    return best


def _joined(a: Pool, b: Pool) -> Pool:
    edges = joined([a.edges, b.edges])
    merged, found = np.concatenate((a.merged, b.merged)), np.concatenate((a.found, b.found))
    return Pool(edges, merged, found, np.concatenate((a.same, b.same)))
