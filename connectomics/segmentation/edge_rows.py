"""Edges between fragments as rows that add up piece by piece: any parts, in any order, give the same sums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.segmentation.edges import SUMS, BlockEdges
from connectomics.segmentation.histograms import Histograms, concatenate

ROW = np.dtype([(name, "i8") for name in ("u", "v", *SUMS, "first")])
"""u < v: fragments; then sums, see `BlockEdges`; first: the first edge of the region graph that is in the
sum."""


@dataclass(frozen=True)
class EdgeRows:
    """Edges, and their histograms where a percentile is wanted.

    Attributes
    ----------
    rows : (E,) `ROW`
    histogram : Histograms or None
    places : (E, 3) int64 or None
        Where their contacts are, see `BlockEdges`; agglomeration needs none of it.
    """

    rows: NDArray[np.void]
    histogram: Histograms | None = None
    places: NDArray[np.int64] | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, to be stored and given back to `from_arrays`."""
        places = {} if self.places is None else {"places": self.places}
        return {"rows": self.rows} | places | ({} if self.histogram is None else vars(self.histogram))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "EdgeRows":
        """The same again from what `arrays` gave."""
        bins = [arrays[name] for name in ("length", "value", "times") if name in arrays]
        places = arrays["places"].reshape(-1, 3) if "places" in arrays else None
        return cls(arrays["rows"], Histograms(*bins) if bins else None, places)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.rows.nbytes + (0 if self.histogram is None else self.histogram.nbytes)

    def taken(self, which: NDArray[np.int64]) -> "EdgeRows":
        """Some of the edges, in the order given."""
        histogram = None if self.histogram is None else self.histogram.taken(which)
        return EdgeRows(self.rows[which], histogram, None if self.places is None else self.places[which])

    def renamed(self, u: NDArray[np.int64], v: NDArray[np.int64]) -> "EdgeRows":
        """The edges between other ends, added up: one row for each pair, sorted; loops drop out."""
        low, high = np.minimum(u, v), np.maximum(u, v)
        kept = np.flatnonzero(low != high)
        order = kept[np.lexsort((high[kept], low[kept]))]
        low, high = low[order], high[order]
        new = np.ones(len(order), bool)
        new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
        starts = np.flatnonzero(new)
        rows = np.zeros(len(starts), ROW)
        rows["u"], rows["v"] = low[starts], high[starts]
        if len(starts):
            for name in SUMS:
                rows[name] = np.add.reduceat(self.rows[name][order], starts)
            rows["first"] = np.minimum.reduceat(self.rows["first"][order], starts)
        places = self.places
        if places is not None:
            places = np.add.reduceat(places[order], starts, axis=0) if len(starts) else places[:0]
        histogram = None if self.histogram is None else self.histogram.summed(order, starts)
        return EdgeRows(rows, histogram, places)

    def added_up(self) -> "EdgeRows":
        """One row for each pair of fragments, sorted."""
        return self.renamed(self.rows["u"], self.rows["v"])

    def touching(self) -> "EdgeRows":
        """Without the pairs that only long-range offsets join: fragments that do not touch are not merged."""
        touching = self.rows["contacts"] > 0
        return self if touching.all() else self.taken(np.flatnonzero(touching))

    def weakened(self, by: NDArray[np.int64], floor: int = 0) -> "EdgeRows":
        """The edges with their affinities lowered by so many steps of 8 bits each, none below 0.

        Their squares stay what they were. `floor`: see `Histograms.weakened`.
        """
        rows = self.rows.copy()
        rows["total"] = np.maximum(0, rows["total"] - by * rows["count"])
        histogram = None if self.histogram is None else self.histogram.weakened(by, floor)
        return EdgeRows(rows, histogram, self.places)

    def middle(self) -> NDArray[np.float64]:
        """(E, 3) the middle of each contact, zyx, in voxels from the volume's low corner; needs `places`."""
        if self.places is None:
            raise InputError("region graph: its edges were measured without their places.")
        return self.places / (2.0 * np.maximum(1, self.rows["contacts"])[:, None]) + 0.5

    def affinity(self, percent: int | None) -> NDArray[np.float64]:
        """Mean or percentile of each edge, 0..255."""
        if percent is None or self.histogram is None:
            return np.asarray(self.rows["total"] / self.rows["count"])
        return self.histogram.percentile(self.rows["count"], percent)


def concatenate_rows(parts: Sequence[EdgeRows]) -> EdgeRows:
    """The rows of several, one after the other; either all have histograms or none is kept."""
    rows = np.concatenate([np.zeros(0, ROW), *(part.rows for part in parts)])
    histograms = [part.histogram for part in parts if part.histogram is not None]
    places = [part.places for part in parts if part.places is not None]
    return EdgeRows(
        rows,
        concatenate(histograms) if parts and len(histograms) == len(parts) else None,
        np.concatenate(places) if parts and len(places) == len(parts) else None,
    )


def rows_of_block(edges: BlockEdges, u: NDArray[np.uint64], v: NDArray[np.uint64]) -> EdgeRows:
    """The edges of a block between the fragments `u` and `v` that its nodes belong to, added up."""
    rows = np.zeros(len(edges.u), ROW)
    for name in SUMS:
        rows[name] = getattr(edges, name)
    return EdgeRows(rows, edges.histogram, edges.places).renamed(u.astype(np.int64), v.astype(np.int64))
