"""The edges of a region graph on the disk, read a piece at a time, and those among some fragments."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from connectomics.io.place import Place
from connectomics.io.tables import open_table

PIECE = 1 << 17
"""Rows read at once: a chunk of the tables that `segment` writes."""

PIECES_KEPT = 24
"""Pieces in memory at most: 150 MB."""


class Edges(NamedTuple):
    """Some rows of the region graph."""

    row: NDArray[np.int64]
    ends: NDArray[np.int64]
    """(n, 2) fragments, u < v."""
    mean: NDArray[np.float32]
    """Mean affinity, 0..1."""
    p_wrong: NDArray[np.float32]
    """Probability that the decision of `segment` on the edge is wrong."""
    position: NDArray[np.float32]
    """(n, 3) nm, zyx."""

    def taken(self, which: NDArray[Any]) -> "Edges":
        """Some of them."""
        return Edges(*(column[which] for column in self))


def joined(parts: Sequence[Edges]) -> Edges:
    """The rows of several, one after the other."""
    columns: list[Any] = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Edges(*columns)


class EdgeTable:
    """The tables of ``region_graph``, sorted by (u, v); at most `PIECES_KEPT` pieces are in memory.

    Parameters
    ----------
    folder
        ``OUT.zarr/region_graph``.
    """

    def __init__(self, folder: Place) -> None:
        self._arrays = [open_table(folder, name) for name in ("edges", "mean", "p_wrong", "position")]
        self._kept: OrderedDict[int, Edges] = OrderedDict()

    def __len__(self) -> int:
        return int(self._arrays[0].shape[0])

    def read(self, first: int, last: int) -> Edges:
        """Rows first..last - 1."""
        ends, mean, p_wrong, position = (np.asarray(array[first:last]) for array in self._arrays)
        row = np.arange(first, first + len(ends))
        return Edges(row, ends.astype(np.int64, copy=False).reshape(-1, 2), mean, p_wrong, position)

    def pieces(self) -> Iterator[Edges]:
        """All rows, a piece at a time."""
        for number in range(-(-len(self) // PIECE)):
            yield self._piece(number)

    def among(self, fragments: NDArray[np.int64]) -> Edges:
        """The edges whose two ends are both among some fragments, given in ascending order."""
        found = [self._none]
        for number in self._pieces_of(fragments):
            piece = self._piece(int(number))
            here = _rows_from(piece.ends[:, 0], fragments)
            found.append(piece.taken(here[_in_sorted(piece.ends[here, 1], fragments)]))
        return joined(found)

    @cached_property
    def _none(self) -> Edges:
        return self.read(0, 0)

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        """The first fragment of each piece."""
        return np.array([piece.ends[0, 0] for piece in self.pieces()], np.int64)

    def _pieces_of(self, fragments: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the pieces in which one of the fragments is the smaller end."""
        if not len(fragments) or not len(self):
            return np.zeros(0, np.int64)
        last = np.searchsorted(self._first, fragments, "right") - 1
        first = np.maximum(np.searchsorted(self._first, fragments, "left") - 1, 0)
        wanted = np.zeros(len(self._first) + 1, np.int64)
        np.add.at(wanted, first, 1)
        np.add.at(wanted, np.maximum(last, first) + 1, -1)
        return np.flatnonzero(np.cumsum(wanted[:-1]))

    def _piece(self, number: int) -> Edges:
        piece = self._kept.pop(number, None)
        if piece is None:
            piece = self.read(number * PIECE, min((number + 1) * PIECE, len(self)))
        self._kept[number] = piece
        if len(self._kept) > PIECES_KEPT:
            self._kept.popitem(last=False)
        return piece


def _rows_from(column: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a sorted column holds one of some ascending values."""
    first, last = np.searchsorted(column, wanted, "left"), np.searchsorted(column, wanted, "right")
    number = last - first
    before = np.cumsum(number) - number
    return np.arange(number.sum()) + np.repeat(first - before, number)


def _in_sorted(values: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    place = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    return np.asarray(wanted[place] == values)
