"""Whether an image's stated uncertainty holds: coverage of its intervals, and how it ranks the errors."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOMINAL = (0.5, 0.8, 0.9, 0.95)
"""Nominal coverages that are looked at."""

WORST = 0.1
"""Share of the voxels, those with the largest errors, that the uncertainty should rank first."""

ERROR_BINS, SPREAD_BINS = 1024, 512
"""Bins of |error| (equally wide, up to the range of grey values) and of the spread (logarithmic)."""

_NARROWEST = 1e-4


def half_widths(intervals: Mapping[str, float]) -> list[float]:
    """Half-width of each nominal interval in standard deviations: as calibrated, else that of a Gaussian."""
    from scipy.special import ndtri

    return [float(intervals.get(f"{p:g}", ndtri((1 + p) / 2))) for p in NOMINAL]


def covered(
    error: NDArray[np.float32], spread: NDArray[np.float32], widths: list[float]
) -> NDArray[np.int64]:
    """How many errors lie inside each interval; (len(widths),)."""
    size = np.abs(error)
    return np.array([np.count_nonzero(size <= width * spread) for width in widths])


def joint_counts(error: NDArray[np.float32], spread: NDArray[np.float32], span: float) -> NDArray[np.int64]:
    """Voxels by size of the error and by standard deviation; (ERROR_BINS, SPREAD_BINS), addable.

    Parameters
    ----------
    error, spread
        The same shape, grey levels.
    span
        Range of grey values.
    """
    rows = np.clip(np.abs(error) * (ERROR_BINS / span), 0, ERROR_BINS - 1).astype(np.int64)
    share = np.log(np.maximum(spread / span, _NARROWEST) / _NARROWEST) / np.log(2 / _NARROWEST)
    columns = np.clip(share * SPREAD_BINS, 0, SPREAD_BINS - 1).astype(np.int64)
    flat = np.bincount((rows * SPREAD_BINS + columns).reshape(-1), minlength=ERROR_BINS * SPREAD_BINS)
    return flat.reshape(ERROR_BINS, SPREAD_BINS)


def ranking(counts: NDArray[np.int64]) -> dict[str, float]:
    """How well the standard deviation ranks the worst errors.

    The area under the ROC curve depends on how much uncertainty varies over an image, and cannot reach 1:
    its ceiling is what it would be if the errors were drawn from the predicted (Gaussian) distributions
    themselves.

    Parameters
    ----------
    counts
        From `joint_counts`.

    Returns
    -------
    dict
        ``auroc``, ``auroc_ceiling``, and ``auroc_worst``, the share of the voxels that counted as worst:
        `WORST` as nearly as errors of one size (grey values are whole numbers) allow. NaN of no voxels.
    """
    total = counts.sum()
    if not total:
        return dict.fromkeys(("auroc", "auroc_ceiling", "auroc_worst"), float("nan"))
    from_here = np.cumsum(counts.sum(axis=1)[::-1])[::-1] / total
    first = int(np.argmin(np.abs(from_here - WORST)))
    share = float(from_here[first])
    worst, all_of = counts[first:].sum(axis=0), counts.sum(axis=0)
    chance = _chance_of_worst(all_of.astype(np.float64), share)
    return {
        "auroc": auroc(worst.astype(np.float64), (all_of - worst).astype(np.float64)),
        "auroc_ceiling": auroc(all_of * chance, all_of * (1 - chance)),
        "auroc_worst": share,
    }


def auroc(positive: Floats, negative: Floats) -> float:
    """Area under the ROC curve from counts by rising score; equal scores count half; NaN of none."""
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")


def _chance_of_worst(voxels: Floats, share: float) -> Floats:
    """For each bin of standard deviation: how likely its errors, if Gaussian, are among the worst."""
    from scipy.special import erfc

    middle = _NARROWEST * (2 / _NARROWEST) ** ((np.arange(SPREAD_BINS) + 0.5) / SPREAD_BINS)
    low, high = 0.0, 20.0 * middle[-1]
    for _ in range(100):
        limit = (low + high) / 2
        chance = erfc(limit / (middle * np.sqrt(2)))
        if float(voxels @ chance) > share * voxels.sum():
            low = limit
        else:
            high = limit
    return np.asarray(erfc(high / (middle * np.sqrt(2))))
