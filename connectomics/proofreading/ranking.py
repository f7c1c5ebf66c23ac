"""The queue: which edge of the region graph to look at next, by what a correction there may gain."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.proofreading.edits import Verdict
from connectomics.proofreading.error_table import pool_of_errors, read_errors
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output
from connectomics.proofreading.pool import Pool, gather
from connectomics.proofreading.spanning import sides
from connectomics.proofreading.worth import Order, Worth
from connectomics.roi import Triple

__all__ = ["Candidate", "Order", "Queue", "is_answered", "rank"]


@dataclass(frozen=True)
class Candidate:
    """A place to look at.

    Attributes
    ----------
    edge : int
        Row of the region graph; -1 where an error of a table lies on no edge.
    kind : str
        The edit that it suggests: "merge" (two segments that may be one) or "split" (one that may be two).
    fragments : tuple of int
        The two fragments that meet there.
    segments : tuple of int
        Their current segments; the same one twice for a split.
    place : tuple of float
        Where they meet, nm, zyx.
    p_wrong : float
        Probability that the segmentation is wrong there.
    gain_nm : float
        Expected run length (nm, as `cost_nm` of a list of errors) that the right edit is expected to gain.
    voxels : tuple of int
        Sizes of the two sides: of two segments, or of what a split would make of one.
    verdict : str or None
        What was decided earlier, None where nothing was.
    """

    edge: int
    kind: Literal["merge", "split"]
    fragments: tuple[int, int]
    segments: tuple[int, int]
    place: Triple
    p_wrong: float
    gain_nm: float
    voxels: tuple[int, int]
    verdict: Verdict | None = None


def is_answered(candidate: Candidate, mapping: SegmentMap) -> bool:
    """Whether the edits that were made answer what a candidate asked."""
    u, v = candidate.fragments
    a, b = mapping.segment_of(u), mapping.segment_of(v)
    return 0 in (a, b) or u == v or (a == b) == (candidate.kind == "merge")


class Queue:
    """Candidates by worth, which follows the edits.

    Worth is looked at lazily: an edit touches the candidates of the segments that it changed, and every
    candidate is judged anew when it comes to the top.

    Parameters
    ----------
    output
        The segmentation.
    mapping
        Its segments now; tell the queue of every change with `changed`.
    pool
        The edges that candidates are made of.
    worth
        What orders them.
    verdicts
        What was decided on (fragment, fragment), u < v; shared with the caller, who adds to it.
    """

    def __init__(
        self,
        output: Output,
        mapping: SegmentMap,
        pool: Pool,
        worth: Worth,
        verdicts: Mapping[tuple[int, int], Verdict],
    ) -> None:
        self.output, self.mapping, self.pool, self.worth = output, mapping, pool, worth
        self._verdicts = verdicts
        self._sides = np.full((len(pool), 2), -1, np.int64)  # voxels; -1 unknown
        self._taken = np.zeros(len(pool), bool)
        columns = pool.found.T.ravel()
        self._by_found = np.argsort(columns, kind="stable")
        self._found = columns[self._by_found]
        self._apart: set[tuple[int, int]] | None = None
        values = self._values(np.arange(len(pool)))
        self._waiting = values > 0
        self._heap = [(-value, index) for index, value in enumerate(values.tolist()) if value > 0]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        """How many candidates are left; some of them may turn out to be none."""
        return int(np.count_nonzero(self._waiting))

    def take(self) -> int | None:
        """The best candidate, which is not given again; None where there is none."""
        while self._heap:
            value, index = heapq.heappop(self._heap)
            self._waiting[index] = False
            if self._taken[index] or self._is_decided(index):
                continue
            now = self._exact(index)
            if now <= 0:
                continue
            if now < -value * (1 - 1e-9):
                self._push(now, index)
                continue
            self._taken[index] = True
            return index
        return None

    def peek(self, number: int) -> list[int]:
        """The best candidates, which stay."""
        found: list[int] = []
        while len(found) < number:
            index = self.take()
            if index is None:
                break
            found.append(index)
        self.give_back(found)
        return found

    def give_back(self, indices: Iterable[int]) -> None:
        """Candidates that were taken may be given again."""
        for index in indices:
            self._taken[index] = False
            self._push(self._exact(index), index)

    def decided(self) -> None:
        """A verdict was added: what is two segments at one contact is two at every other."""
        self._apart = None

    def changed(self, segments: Iterable[int]) -> None:
        """The segments changed, appeared or went: judge their candidates anew."""
        self._apart = None
        found = {one for segment in segments for one in self.mapping.found_segments(segment).tolist()}
        touched = self._of_found(np.array(sorted(found), np.int64))
        self._sides[touched] = -1
        touched = touched[~self._taken[touched]]
        for value, index in zip(self._values(touched).tolist(), touched.tolist(), strict=True):
            self._push(value, index)

    def candidate(self, index: int) -> Candidate:
        """All about a candidate as things are now."""
        value = self._exact(index)
        edges = self.pool.edges
        u, v = edges.ends[index].tolist()
        a, b = self._segments(np.array([index]))[0].tolist()
        voxels = self._sides[index].tolist() if a == b else [self.mapping.voxels_of(s) for s in (a, b)]
        z, y, x = edges.position[index].tolist()
        same = float(self.pool.same[index])
        p_wrong = 1 - same if a == b else same
        gain = self.worth.gain(a != b, p_wrong, max(0, voxels[0]), max(0, voxels[1]))
        return Candidate(
            edge=int(edges.row[index]),
            kind="split" if a == b else "merge",
            fragments=(u, v),
            segments=(a, b),
            place=(z, y, x),
            p_wrong=p_wrong,
            gain_nm=value if self.worth.order == "errors" else float(gain),
            voxels=(max(0, voxels[0]), max(0, voxels[1])),
            verdict=self._verdicts.get((u, v)),
        )

    # --- inside ------------------------------------------------------------------------------------------

    def _push(self, value: float, index: int) -> None:
        if value > 0:
            self._waiting[index] = True
            heapq.heappush(self._heap, (-value, index))

    def _is_decided(self, index: int) -> bool:
        u, v = self.pool.edges.ends[index].tolist()
        return (u, v) in self._verdicts

    def _segments(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.mapping.segments_of(self.pool.edges.ends[indices]).view(np.int64)

    def _values(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """What candidates are worth at most; 0 for those that are none now."""
        segments = self._segments(indices)
        same = segments[:, 0] == segments[:, 1]
        merged = self.pool.merged[indices]
        alive = (segments > 0).all(axis=1) & (same == merged)  # else a person has decided it
        weights = self.mapping.sizes_of(segments)
        values = self.worth.at_most(indices, self.pool, weights, self._sides[indices])
        return np.where(alive, values, 0.0)

    def _exact(self, index: int) -> float:
        """What a candidate is worth; the sides of a split are measured where they are not known."""
        one = np.array([index])
        value = float(self._values(one)[0])
        if value <= 0:
            return 0.0
        a, b = self._segments(one)[0].tolist()
        if a != b:
            return 0.0 if self._known_apart(a, b) else value
        if self._sides[index, 0] < 0 and self.worth.order != "errors":
            self._measure(a)
            value = float(self._values(one)[0])
        return value

    def _known_apart(self, a: int, b: int) -> bool:
        if self._apart is None:
            accepted = [pair for pair, verdict in self._verdicts.items() if verdict == "accept"]
            pairs = np.sort(self.mapping.segments_of(np.array(accepted, np.int64).reshape(-1, 2)), axis=1)
            self._apart = {(u, v) for u, v in pairs.tolist() if u != v}
        return (min(a, b), max(a, b)) in self._apart

    def _measure(self, segment: int) -> None:
        """Find the sides of all split candidates of a segment; (0, 0) for those that part nothing."""
        names = self.mapping.fragments_of(segment)
        names = names[names <= self.mapping.fragments]
        edges = self.output.edges.among(names)
        merged = self.output.lut[edges.ends[:, 0]] == self.output.lut[edges.ends[:, 1]]
        same = np.where(merged, 1 - edges.p_wrong, edges.p_wrong)
        voxels = self.mapping.fragment_voxels(names)
        made = self.mapping.merged_by_hand(names)  # the surest links there are
        pairs = np.concatenate([np.searchsorted(names, edges.ends), made])
        below = sides(pairs, np.concatenate([same, np.full(len(made), 2.0)]), voxels)[: len(edges.row)]
        mine = self._of_found(self.mapping.found_segments(segment))
        mine = mine[(self._segments(mine) == segment).all(axis=1)]
        place = np.searchsorted(edges.row, self.pool.edges.row[mine])
        place = np.minimum(place, max(0, len(edges.row) - 1))
        on_tree = below[place] >= 0
        total = int(voxels.sum())
        self._sides[mine, 0] = np.where(on_tree, below[place], 0)
        self._sides[mine, 1] = np.where(on_tree, total - below[place], 0)

    def _of_found(self, segments: NDArray[np.int64]) -> NDArray[np.int64]:
        """Candidates with an end in one of some segments as they were found."""
        first = np.searchsorted(self._found, segments, "left")
        last = np.searchsorted(self._found, segments, "right")
        parts = [self._by_found[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True)]
        found = np.concatenate([np.zeros(0, np.int64), *parts]) % max(1, len(self.pool))
        return np.unique(found)


def rank(
    output: Output,
    mapping: SegmentMap,
    verdicts: Mapping[tuple[int, int], Verdict],
    order: Order,
    errors: Path | None = None,
    seed: int = 0,
) -> Queue:
    """The queue of a segmentation; see `connectomics.proofreading.session.ReviewSession.rank_by`."""
    found = SegmentMap(output.lut, output.voxels)
    worth = Worth.of(order, found, float(np.prod(output.fragments.voxel_size)), seed)
    if order == "errors":
        if errors is None:
            raise InputError("order 'errors': needs the table that `score --errors` writes.")
        pool, costs = pool_of_errors(output, read_errors(errors))
        worth = replace(worth, costs=costs)
    else:
        pool = gather(output, lambda edges, merged, ends: worth.bound(edges, merged, found.sizes_of(ends)))
    return Queue(output, mapping, pool, worth, verdicts)
