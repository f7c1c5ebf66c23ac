"""The adapted Rand error: pairs of voxels that segmentation and truth put together or apart."""

import numpy as np
from numpy.typing import NDArray

from connectomics.evaluation.contingency import Contingency


def adapted_rand(table: Contingency) -> tuple[float, float, float]:
    """Adapted Rand error, precision and recall, as scikit-image's ``adapted_rand_error`` returns them.

    With P = pairs of voxels together in both, the error is 1 - 2 P / (pairs in truth + pairs in the
    segmentation). The two ratios follow the values that scikit-image returns, not the words of its
    documentation: `precision` is P / pairs together in the truth, so splits lower it; `recall` is
    P / pairs together in the segmentation, so merges lower it.

    Parameters
    ----------
    table
        Voxel counts of the pairs.

    Returns
    -------
    error, precision, recall : float
        Between 0 and 1; NaN where there are no pairs to compare.

    References
    ----------
    Arganda-Carreras et al., Crowdsourcing the creation of image segmentation algorithms for
    connectomics, Frontiers in Neuroanatomy, 2015. DOI 10.3389/fnana.2015.00142

    Examples
    --------
    >>> from connectomics.evaluation.contingency import count_contingency
    >>> table = count_contingency(np.array([5, 5, 5, 5]), np.array([1, 1, 2, 2]))
    >>> error, precision, recall = adapted_rand(table)
    >>> round(error, 3), precision, round(recall, 3)
    (0.5, 1.0, 0.333)
    """
    together = _ordered_pairs(table.count)
    in_truth = _ordered_pairs(table.truth_sizes()[2])
    in_segmentation = _ordered_pairs(table.segment_sizes()[2])
    error = 1.0 - _ratio(together, (in_truth + in_segmentation) / 2)
    return error, _ratio(together, in_truth), _ratio(together, in_segmentation)


def _ordered_pairs(sizes: NDArray[np.int64]) -> float:
    """Sum of n (n - 1), in floating point: the integers would overflow from 3e9 voxels on."""
    exact = sizes.astype(np.float64)
    return float(np.sum(exact * (exact - 1)))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
