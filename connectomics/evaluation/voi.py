"""Variation of information: how many bits a segmentation loses by splits and by merges."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.evaluation.contingency import Contingency


def variation_of_information(table: Contingency) -> tuple[float, float]:
    """Split and merge part of the variation of information, in bits.

    Split is H(segmentation | truth): what remains unknown of a voxel's segment when its true object
    is known, 0 when no object is cut. Merge is H(truth | segmentation), 0 when no segment holds two.

    Parameters
    ----------
    table
        Voxel counts of the pairs.

    Returns
    -------
    split, merge : float
        Bits, at least 0; NaN when the table is empty.

    References
    ----------
    Meila, Comparing clusterings, Journal of Multivariate Analysis, 2007. DOI 10.1016/j.jmva.2006.11.013

    Examples
    --------
    >>> from connectomics.evaluation.contingency import count_contingency
    >>> table = count_contingency(segmentation=np.array([1, 1, 2, 2]), truth=np.array([5, 5, 5, 5]))
    >>> variation_of_information(table)
    (1.0, 0.0)
    """
    if not table.count.size:
        return float("nan"), float("nan")
    split, merge = pair_losses(table)
    return float(split.sum()), float(merge.sum())


def pair_losses(table: Contingency) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each pair adds to the split and to the merge part, bits, (k,) each, none negative."""
    share = table.count / max(1, table.voxels)
    return share * _bits(table.truth_sizes(), table), share * _bits(table.segment_sizes(), table)


def _bits(totals: tuple[Any, ...], table: Contingency) -> NDArray[np.float64]:
    """log2 of (voxels of the object / voxels of the pair); exactly 0 where the pair is the whole object."""
    _, position, sizes = totals
    bits: NDArray[np.float64] = np.log2(sizes[position] / table.count)
    return bits
