"""Scores of a label volume against a label volume, added block by block."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.evaluation.contingency import Contingency, count_contingency, merge_contingencies
from connectomics.evaluation.rand import adapted_rand
from connectomics.evaluation.voi import pair_losses, variation_of_information

_PENDING_PAIRS = 1 << 20


@dataclass(frozen=True)
class VoiLoss:
    """What one object loses.

    Attributes
    ----------
    kind : str
        "split": the truth object `label` is spread over several segments;
        "merge": the segment `label` covers several truth objects.
    label : int
        A truth id for a split, a segment id for a merge (0: the background holds truth objects).
    bits : float
        Its part of ``voi_split`` or ``voi_merge``; over all objects the parts add up to it.
    parts : tuple of (int, int)
        For a split the segments involved, for a merge the truth ids: (id, voxels), largest first.
    """

    kind: str
    label: int
    bits: float
    parts: tuple[tuple[int, int], ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for a report."""
        parts = [{"id": part, "voxels": voxels} for part, voxels in self.parts]
        return {"kind": self.kind, "label": self.label, "bits": self.bits, "parts": parts}


class VoiTable:
    """VOI and Rand of a segmentation, added block by block in any order; the sums are exact.

    Examples
    --------
    >>> table = VoiTable()
    >>> table.add(np.array([1, 1]), np.array([5, 5]))
    >>> table.add(np.array([2, 2]), np.array([5, 5]))
    >>> table.scores()["voi_split"]
    1.0
    """

    def __init__(self) -> None:
        self._tables: list[Contingency] = []
        self._pending = 0

    def add(self, segmentation: NDArray[Any], truth: NDArray[Any], mask: NDArray[Any] | None = None) -> None:
        """Count the voxels of a block; see `contingency.count_contingency` for what is left out."""
        self.add_contingency(count_contingency(segmentation, truth, mask))

    def add_contingency(self, table: Contingency) -> None:
        """Add what was counted elsewhere."""
        self._tables.append(table)
        self._pending += table.count.size
        if self._pending > _PENDING_PAIRS + self._tables[0].count.size:
            self._sum_up()

    def merge(self, other: "VoiTable") -> None:
        """Add what another table counted; that one is unchanged."""
        self.add_contingency(other.contingency)

    @property
    def contingency(self) -> Contingency:
        """Everything counted so far."""
        return self._sum_up()

    def scores(self) -> dict[str, float | int]:
        """The scores under the names of the command line; NaN where nothing was counted.

        Returns
        -------
        dict
            ``voi_split``, ``voi_merge``, ``voi_sum`` (bits), ``adapted_rand_error``, ``rand_precision``,
            ``rand_recall``, ``predicted_background`` (share of the voxels scored that carry segment 0),
            ``n_truth``, ``n_segments`` (objects among the voxels scored, background not among them).
        """
        table = self.contingency
        split, merge = variation_of_information(table)
        error, precision, recall = adapted_rand(table)
        empty = table.count[table.segment == 0].sum()
        segments = table.segment_sizes()[0]
        return {
            "voi_split": split,
            "voi_merge": merge,
            "voi_sum": split + merge,
            "adapted_rand_error": error,
            "rand_precision": precision,
            "rand_recall": recall,
            "predicted_background": float(empty / table.voxels) if table.voxels else float("nan"),
            "n_truth": table.truth_sizes()[0].size,
            "n_segments": int(np.count_nonzero(segments)),
        }

    def worst(self, n: int) -> list[VoiLoss]:
        """The `n` objects that lose most, splits and merges together, largest loss first."""
        table = self.contingency
        split, merge = pair_losses(table)
        losses = _largest("split", table, split, n) + _largest("merge", table, merge, n)
        return sorted(losses, key=lambda loss: (-loss.bits, loss.kind, loss.label))[:n]

    def _sum_up(self) -> Contingency:
        self._tables = [merge_contingencies(self._tables)]
        self._pending = 0
        return self._tables[0]


def _largest(kind: str, table: Contingency, pair_bits: NDArray[np.float64], n: int) -> list[VoiLoss]:
    split = kind == "split"
    labels, position, _ = table.truth_sizes() if split else table.segment_sizes()
    others = table.segment if split else table.truth
    bits = np.bincount(position, weights=pair_bits, minlength=labels.size)
    losses = []
    for index in np.lexsort((labels, -bits))[:n]:
        if bits[index] <= 0:
            break
        mine = np.flatnonzero(position == index)
        mine = mine[np.lexsort((others[mine], -table.count[mine]))]
        parts = tuple((int(others[pair]), int(table.count[pair])) for pair in mine)
        losses.append(VoiLoss(kind, int(labels[index]), float(bits[index]), parts))
    return losses
