"""What a candidate is worth in each order of the queue."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError, did_you_mean
from connectomics.proofreading.edge_table import Edges
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.pool import Pool
from connectomics.proofreading.run_length import (
    gain_of_merging,
    gain_of_splitting,
    length_nm,
    most_of_splitting,
)

Order = Literal["run-length", "errors", "uncertainty", "largest", "random"]
"""run-length: expected run length gained. errors: the table of `score --errors`. uncertainty: probability of
being wrong alone. largest: the largest segments first. random: by a seed."""


@dataclass(frozen=True)
class Worth:
    """An order of the queue.

    Attributes
    ----------
    order : Order
    voxel_nm3 : float
        Volume of a voxel.
    total_nm : float
        Estimated length of all segments.
    seed : int
        For "random".
    costs : (n,) float64, optional
        For "errors": run length (nm) that mending each candidate of the pool gains.
    """

    order: Order
    voxel_nm3: float
    total_nm: float
    seed: int = 0
    costs: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, order: Order, mapping: SegmentMap, voxel_nm3: float, seed: int = 0) -> "Worth":
        """An order for a segmentation.

        Raises
        ------
        InputError
            There is no such order.
        """
        if order not in get_args(Order):
            raise InputError(f"order {order!r}: there is none.{did_you_mean(str(order), get_args(Order))}")
        total = float(length_nm(mapping.total_voxels, voxel_nm3))
        return cls(order, voxel_nm3, max(total, 1.0), seed)

    def gain(self, merge: Any, p_wrong: Any, a: Any, b: Any) -> Any:
        """Expected gain (nm) of a merge, else of a split, of sides of so many voxels."""
        a, b = length_nm(a, self.voxel_nm3), length_nm(b, self.voxel_nm3)
        merged, split = gain_of_merging(a, b, self.total_nm), gain_of_splitting(a, b, self.total_nm)
        return p_wrong * np.where(merge, merged, split)

    def at_most(
        self,
        indices: NDArray[np.int64],
        pool: Pool,
        voxels: NDArray[np.int64],
        sides: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """What candidates of a pool are worth; at most so much where the sides of a split are not known.

        Parameters
        ----------
        indices
            Which.
        pool
            The candidates.
        voxels
            (n, 2) of the segments of both ends.
        sides
            (n, 2) voxels on either side of a split; -1 unknown, 0 where it parts nothing.
        """
        if self.order == "errors" and self.costs is not None:
            return self.costs[indices]
        merged, same = pool.merged[indices], pool.same[indices].astype(np.float64)
        p_wrong = np.where(merged, 1 - same, same)
        known = sides[:, 0] >= 0
        void = merged & known & (sides == 0).any(axis=1)
        return np.where(void, 0.0, self._values(pool.edges.row[indices], merged, p_wrong, voxels, sides))

    def bound(
        self, edges: Edges, merged: NDArray[np.bool_], voxels: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What edges of the table are worth at most, before anything is known of the sides of a split."""
        unknown = np.full((len(merged), 2), -1)
        return self._values(edges.row, merged, edges.p_wrong.astype(np.float64), voxels, unknown)

    def _values(
        self,
        rows: NDArray[np.int64],
        merged: NDArray[np.bool_],
        p_wrong: NDArray[np.float64],
        voxels: NDArray[np.int64],
        sides: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        if self.order == "uncertainty":
            return np.maximum(p_wrong, 1e-12)
        if self.order == "largest":
            return np.where(merged, voxels[:, 0], voxels.sum(axis=1)).astype(np.float64)
        if self.order == "random":
            return _drawn(rows, self.seed)
        a, b = (length_nm(column, self.voxel_nm3) for column in voxels.T)
        low, high = (length_nm(column, self.voxel_nm3) for column in np.maximum(sides, 0).T)
        cut = np.where(
            sides[:, 0] >= 0,
            gain_of_splitting(low, high, self.total_nm),
            most_of_splitting(a, self.total_nm),
        )
        stake = np.where(merged, cut, gain_of_merging(a, b, self.total_nm))
        return np.asarray(p_wrong * stake, np.float64)


def _drawn(rows: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number in (0, 1] for each row, the same whenever it is asked for."""
    start = np.uint64((seed + 1) * 0xD1B54A32D192ED03 % 2**64)
    mixed = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53 + 2.0**-54
