"""The queue: which edge of the region graph to look at next, by what a correction there is expected to gain."""

from dataclasses import dataclass
from typing import Literal

from connectomics.proofreading.edits import Verdict
from connectomics.roi import Triple

Order = Literal["run-length", "errors", "uncertainty", "largest", "random"]
"""run-length: expected run length gained. errors: the table of `score --errors`. uncertainty: probability of
being wrong alone. largest: the largest segments first. random: by a seed."""


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
        Run length (expected, nm, summed over all axons) that the right edit is expected to gain.
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
