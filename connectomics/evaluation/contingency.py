"""The sparse contingency table: how many voxels each truth object shares with each segment."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.errors import GeometryError, InputError

_PIECE = 1 << 18
_FIRST_CAPACITY = 1 << 12


@dataclass(frozen=True)
class Contingency:
    """Voxel counts of every pair (truth object, segment) that occurs, sorted by truth, then segment.

    Adding tables is exact and independent of order: counts are integers, the pairs are sorted.

    Attributes
    ----------
    truth, segment : ndarray of uint64, (k,)
        The pairs; truth is never 0, segment may be (a predicted background is one label like any other).
    count : ndarray of int64, (k,)
        Voxels of each pair, never 0.
    """

    truth: NDArray[np.uint64]
    segment: NDArray[np.uint64]
    count: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Self:
        """The table of no voxels."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))

    @property
    def voxels(self) -> int:
        """Number of voxels counted."""
        return int(self.count.sum())

    def truth_sizes(self) -> tuple[NDArray[np.uint64], NDArray[np.intp], NDArray[np.int64]]:
        """Truth ids (sorted), the position of each pair's id among them, and the voxels of each id."""
        return _totals(self.truth, self.count)

    def segment_sizes(self) -> tuple[NDArray[np.uint64], NDArray[np.intp], NDArray[np.int64]]:
        """Segment ids (sorted), the position of each pair's id among them, and the voxels of each id."""
        return _totals(self.segment, self.count)

    def __add__(self, other: "Contingency") -> "Contingency":
        return merge_contingencies([self, other])


def merge_contingencies(tables: list[Contingency]) -> Contingency:
    """The sum of tables; exact, and the same in any order."""
    if not tables:
        return Contingency.empty()
    truth = np.concatenate([table.truth for table in tables])
    segment = np.concatenate([table.segment for table in tables])
    count = np.concatenate([table.count for table in tables])
    return _sorted_table(truth, segment, count)


def count_contingency(
    segmentation: NDArray[Any], truth: NDArray[Any], mask: NDArray[Any] | None = None
) -> Contingency:
    """Count the voxels of every pair (truth object, segment).

    Parameters
    ----------
    segmentation, truth
        Labels of one shape, any integer dtype, never negative. Voxels with truth 0 are left out;
        segmentation 0 is kept as one label.
    mask
        Where it is non-zero, and a number, a voxel counts; the same shape, any dtype. All voxels when None.

    Returns
    -------
    Contingency
        Exact counts; ids up to 2**64 - 1 are told apart.

    Raises
    ------
    GeometryError
        The shapes differ.
    InputError
        Labels that are not integers, or negative ones.

    Examples
    --------
    >>> table = count_contingency(np.array([7, 7, 0, 9]), np.array([1, 1, 1, 0]))
    >>> table.segment.tolist(), table.count.tolist()
    ([0, 7], [1, 2])
    """
    _check_labels(segmentation, "segmentation")
    _check_labels(truth, "truth")
    arrays = [segmentation, truth] if mask is None else [segmentation, truth, mask]
    if len({array.shape for array in arrays}) != 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise GeometryError(
            f"segmentation, truth and mask must have one shape, got {shapes}; crop them first."
        )
    if all(array.flags.f_contiguous and not array.flags.c_contiguous for array in arrays):
        arrays = [array.T for array in arrays]
    flat = [np.ascontiguousarray(array).reshape(-1) for array in arrays]
    return _count_flat(flat)


def _count_flat(flat: list[NDArray[Any]]) -> Contingency:
    """Count piece by piece, so that widening to 64 bit stays inside the processor's cache."""
    pairs = np.zeros((_FIRST_CAPACITY, 2), np.uint64)
    counts = np.zeros(_FIRST_CAPACITY, np.int64)
    used = 0
    everything = np.ones(_PIECE if len(flat) == 2 else 0, bool)
    for start in range(0, flat[0].size, _PIECE):
        piece = slice(start, start + _PIECE)
        segment = flat[0][piece].astype(np.uint64, copy=False)
        keep = everything[: segment.size] if len(flat) == 2 else np.nan_to_num(flat[2][piece]) != 0
        pairs, counts, used = _count_piece(
            segment, flat[1][piece].astype(np.uint64, copy=False), keep, pairs, counts, used
        )
    filled = counts > 0
    return _sorted_table(pairs[filled, 0], pairs[filled, 1], counts[filled])


def _check_labels(labels: NDArray[Any], name: str) -> None:
    if labels.dtype.kind not in "uib":
        raise InputError(f"{name}: labels must be integers, got {labels.dtype}; convert them first.")
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise InputError(f"{name}: labels must not be negative, got {labels.min()}; use 0 for background.")


def _sorted_table(
    truth: NDArray[np.uint64], segment: NDArray[np.uint64], count: NDArray[np.int64]
) -> Contingency:
    if not truth.size:
        return Contingency.empty()
    order = np.lexsort((segment, truth))
    truth, segment, count = truth[order], segment[order], count[order]
    new = np.ones(truth.size, bool)
    new[1:] = (truth[1:] != truth[:-1]) | (segment[1:] != segment[:-1])
    first = np.flatnonzero(new)
    return Contingency(truth[first], segment[first], np.add.reduceat(count, first))


def _totals(
    ids: NDArray[np.uint64], count: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.intp], NDArray[np.int64]]:
    names, position = np.unique(ids, return_inverse=True)
    sizes = np.zeros(names.size, np.int64)
    np.add.at(sizes, position, count)
    return names, position, sizes


@njit(cache=True, nogil=True)
def _slot(pairs, counts, truth, segment):  # type: ignore[no-untyped-def]
    """Where the pair is in the open-addressing table, or the empty slot where it belongs."""
    mixed = truth * np.uint64(0x9E3779B97F4A7C15) + segment
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    last = np.uint64(counts.size - 1)
    slot = (mixed ^ (mixed >> np.uint64(31))) & last
    while counts[slot] != 0 and (pairs[slot, 0] != truth or pairs[slot, 1] != segment):
        slot = (slot + np.uint64(1)) & last
    return slot


@njit(cache=True, nogil=True)
def _grown(pairs, counts):  # type: ignore[no-untyped-def]
    """The same table with four times the slots."""
    more_pairs = np.zeros((4 * counts.size, 2), np.uint64)
    more_counts = np.zeros(4 * counts.size, np.int64)
    for old in range(counts.size):
        if counts[old] != 0:
            new = _slot(more_pairs, more_counts, pairs[old, 0], pairs[old, 1])
            more_pairs[new, 0] = pairs[old, 0]
            more_pairs[new, 1] = pairs[old, 1]
            more_counts[new] = counts[old]
    return more_pairs, more_counts


@njit(cache=True, nogil=True)
def _count_piece(segment, truth, keep, pairs, counts, used):  # type: ignore[no-untyped-def]
    """Add voxels to the table; a run of equal pairs along the line is looked up once."""
    i = 0
    while i < truth.size:
        if truth[i] == 0 or not keep[i]:
            i += 1
            continue
        first = i
        while i < truth.size and truth[i] == truth[first] and segment[i] == segment[first] and keep[i]:
            i += 1
        slot = _slot(pairs, counts, truth[first], segment[first])
        if counts[slot] == 0:
            pairs[slot, 0] = truth[first]
            pairs[slot, 1] = segment[first]
            used += 1
        counts[slot] += i - first
        if 2 * used > counts.size:
            pairs, counts = _grown(pairs, counts)
    return pairs, counts, used
