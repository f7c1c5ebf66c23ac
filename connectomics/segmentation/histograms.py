"""How often each affinity occurs on each edge, kept sparse: an entry per affinity that does occur."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

BINS = 256


@dataclass(frozen=True)
class Histograms:
    """Histograms of many edges, one after the other.

    Attributes
    ----------
    length : (E,) int32
        Entries of each edge.
    value : (S,) uint8
        Affinity of each entry, ascending within an edge.
    times : (S,) uint32
        How often it occurs, at least once.

    Examples
    --------
    >>> dense = np.zeros((2, 256), np.uint32)
    >>> dense[0, [7, 200]] = 3, 1
    >>> kept = Histograms.from_dense(dense)
    >>> kept.length.tolist(), kept.value.tolist(), kept.times.tolist()
    ([2, 0], [7, 200], [3, 1])
    >>> kept.percentile(np.array([4, 0]), 90).tolist()
    [200.0, 0.0]
    """

    length: NDArray[np.int32]
    value: NDArray[np.uint8]
    times: NDArray[np.uint32]

    @classmethod
    def from_dense(cls, dense: NDArray[np.uint32]) -> Self:
        """From an (E, 256) array."""
        edge, value = np.nonzero(dense)
        length = np.bincount(edge, minlength=len(dense)).astype(np.int32)
        return cls(length, value.astype(np.uint8), dense[edge, value].astype(np.uint32))

    def dense(self) -> NDArray[np.uint32]:
        """As an (E, 256) array."""
        result = np.zeros((len(self.length), BINS), np.uint32)
        result[np.repeat(np.arange(len(self.length)), self.length), self.value] = self.times
        return result

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.length.nbytes + self.value.nbytes + self.times.nbytes

    @property
    def start(self) -> NDArray[np.int64]:
        """(E + 1,) where the entries of each edge begin."""
        return np.concatenate((np.zeros(1, np.int64), np.cumsum(self.length, dtype=np.int64)))

    def lumped(self, threshold: float) -> "Histograms":
        """The same with all affinities up to `threshold` (0..255) counted as one.

        Sums of lumped histograms have the percentiles of the sums, as far as those are above the threshold;
        the others stay at or below it. Most edges are weak, and keep a single entry.
        """
        floor = np.uint8(min(max(math.floor(threshold), 0), BINS - 1))
        lumped = Histograms(self.length, np.maximum(self.value, floor), self.times)
        return lumped.summed(np.arange(len(self.length)), np.arange(len(self.length)))

    def weakened(self, by: NDArray[np.int64], floor: int = 0) -> "Histograms":
        """The same with all affinities of each edge lowered by what is said for it.

        None falls below `floor`, to which affinities may have been `lumped`; those already there stay.
        """
        own = np.repeat(by, self.length)
        lowered = np.maximum(self.value - own, np.minimum(self.value, floor)).astype(np.uint8)
        each = np.arange(len(self.length))
        return Histograms(self.length, lowered, self.times).summed(each, each)

    def summed(self, order: NDArray[np.int64], starts: NDArray[np.int64]) -> "Histograms":
        """One histogram for each group: group g adds up the edges ``order[starts[g]:starts[g + 1]]``."""
        ends = np.append(starts[1:], len(order)).astype(np.int64)
        length, value, times = _sum_groups(self.start, self.value, self.times, order, starts, ends)
        used = int(length.sum())
        if used < len(value):
            value, times = value[:used].copy(), times[:used].copy()
        return Histograms(length, value, times)

    def taken(self, edges: NDArray[np.int64]) -> "Histograms":
        """The histograms of some edges, in the order given."""
        return self.summed(edges, np.arange(len(edges)))

    def percentile(self, count: NDArray[np.int64], percent: int) -> NDArray[np.float64]:
        """The affinity (0..255) that `percent` % of each edge's `count` voxel pairs do not exceed."""
        return _percentiles(self.start, self.value, self.times, count, percent)


def concatenate(parts: list[Histograms]) -> Histograms:
    """The edges of several, one after the other."""
    return Histograms(
        np.concatenate([np.zeros(0, np.int32), *(part.length for part in parts)]),
        np.concatenate([np.zeros(0, np.uint8), *(part.value for part in parts)]),
        np.concatenate([np.zeros(0, np.uint32), *(part.times for part in parts)]),
    )


@njit(cache=True, nogil=True)
def _sum_groups(start, value, times, order, starts, ends):  # type: ignore[no-untyped-def]
    capacity = 0
    for edge in order:
        capacity += start[edge + 1] - start[edge]
    length = np.zeros(len(starts), np.int32)
    new_value, new_times = np.empty(capacity, np.uint8), np.empty(capacity, np.uint32)
    sums, used = np.zeros(BINS, np.uint32), 0
    for group in range(len(starts)):
        for place in range(starts[group], ends[group]):
            edge = order[place]
            for entry in range(start[edge], start[edge + 1]):
                sums[value[entry]] += times[entry]
        for affinity in range(BINS):
            if sums[affinity]:
                new_value[used], new_times[used] = affinity, sums[affinity]
                used += 1
                length[group] += 1
                sums[affinity] = 0
    return length, new_value, new_times


@njit(cache=True, nogil=True)
def _percentiles(start, value, times, count, percent):  # type: ignore[no-untyped-def]
    result = np.zeros(len(count))
    for edge in range(len(count)):
        rank, seen = (count[edge] * percent + 99) // 100, 0
        for entry in range(start[edge], start[edge + 1]):
            seen += times[entry]
            if seen >= rank:
                result[edge] = value[entry]
                break
    return result
