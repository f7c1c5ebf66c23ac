"""What a merge or a split is expected to gain in run length, estimated from sizes alone."""

from typing import Any

import numpy as np

CROSS_SECTION_NM2 = 1e6
"""Cross-section that a neurite is taken to have where nobody has traced it: 1 um^2. It scales all gains
alike, so the ranking does not depend on it."""

SCRAP_NM = 50.0
"""Length of a piece of a neurite that as likely as not holds no edge of a tracing."""


def length_nm(voxels: Any, voxel_nm3: float) -> Any:
    """Length (nm) that a segment of so many voxels is taken to have."""
    return np.asarray(voxels, np.float64) * (voxel_nm3 / CROSS_SECTION_NM2)


def gain_of_merging(a: Any, b: Any, total: float) -> Any:
    """Expected run length (nm) gained where two parts of one neurite, of lengths `a` and `b`, are joined.

    Run length is the sum of squared lengths over `total`, the length of all neurites: (a + b)^2 - a^2 - b^2.
    """
    return 2.0 * a * b / total


def gain_of_splitting(a: Any, b: Any, total: float) -> Any:
    """Expected run length (nm) gained where two neurites under one label are separated.

    What is merged counts nothing, so both are gained: a^2 + b^2. But a scrap of a neurite, shorter than
    about `SCRAP_NM`, hardly makes the rest count for nothing.
    """
    smaller = np.minimum(a, b)
    return (a * a + b * b) / total * (smaller / (smaller + SCRAP_NM))


def most_of_splitting(whole: Any, total: float) -> Any:
    """What splitting a segment of this length gains at most, wherever it is split."""
    return whole * whole / total
