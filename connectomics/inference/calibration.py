"""Calibrate a translation's uncertainty on held-out voxels: scales of its parts, half-widths of intervals."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.networks.contract import UncertaintyScales

NOMINAL = (0.5, 0.8, 0.9, 0.95)
"""Coverages for which intervals are stored."""

_SMALLEST = 1e-12


def total_deviation(
    aleatoric: NDArray[Any], epistemic: NDArray[Any], scales: UncertaintyScales
) -> NDArray[np.float64]:
    """Calibrated standard deviation: root of the squared, scaled parts.

    Parameters
    ----------
    aleatoric, epistemic
        Standard deviations as the networks give them, any shape and unit, zeros where there are none.
    scales
        What held-out data made of them.
    """
    square = (scales.aleatoric * np.asarray(aleatoric, np.float64)) ** 2
    return np.sqrt(square + (scales.epistemic * np.asarray(epistemic, np.float64)) ** 2)


def calibrate(
    error: NDArray[Any],
    aleatoric: NDArray[Any],
    epistemic: NDArray[Any],
    nominal: Sequence[float] = NOMINAL,
    voxels: int = 500_000,
) -> UncertaintyScales:
    """Fit the scales of both parts, then the intervals, to errors on held-out data.

    The scales maximise the Gaussian likelihood of the errors. The half-widths are conformal quantiles of
    \\|error\\| over the total deviation, so their coverage is right whatever the errors' distribution.

    Parameters
    ----------
    error
        Translation minus truth, any shape; values that are not finite are left out.
    aleatoric, epistemic
        Standard deviations in the unit of the error, same shape; zeros throughout where a part is not known.
    nominal
        Shares of voxels that intervals are to hold.
    voxels
        At most about so many voxels are used, evenly spread.

    Raises
    ------
    InputError
        Shapes differ, fewer than 100 voxels are left, or both parts are zero.
    """
    parts = [np.asarray(values, np.float64).ravel() for values in (error, aleatoric, epistemic)]
    if len({len(part) for part in parts}) > 1:
        raise InputError(
            f"calibration: shapes differ: {[np.shape(v) for v in (error, aleatoric, epistemic)]}."
        )
    step = max(1, len(parts[0]) // voxels)
    values = np.stack([part[::step] for part in parts])
    values = values[:, np.isfinite(values).all(0)]
    values = values[:, (values[1] > 0) | (values[2] > 0)]
    if values.shape[1] < 100:
        raise InputError(
            f"calibration: {values.shape[1]} voxels have both an error and an uncertainty; 100 are needed."
        )
    first, second = _fit(values[0] ** 2, values[1] ** 2, values[2] ** 2)
    scales = UncertaintyScales(aleatoric=first, epistemic=second)
    ratio = np.abs(values[0]) / np.maximum(total_deviation(values[1], values[2], scales), _SMALLEST)
    return scales.model_copy(update={"intervals": _half_widths(ratio, nominal)})


def coverage(error: NDArray[Any], deviation: NDArray[Any], scales: UncertaintyScales) -> dict[str, float]:
    """Share of errors within each interval, by its nominal coverage; both arrays in one unit."""
    size, total = np.abs(error), np.asarray(deviation)
    return {name: float(np.mean(size <= width * total)) for name, width in scales.intervals.items()}


def _half_widths(ratio: NDArray[np.float64], nominal: Sequence[float]) -> dict[str, float]:
    ordered, n = np.sort(ratio), len(ratio)
    ranks = {share: min(n, math.ceil((n + 1) * share)) for share in nominal}
    return {f"{share:g}": float(ordered[rank - 1]) for share, rank in ranks.items()}


def _fit(
    error: NDArray[np.float64], aleatoric: NDArray[np.float64], epistemic: NDArray[np.float64]
) -> tuple[float, float]:
    """Factors on both deviations, from squared errors and variances."""
    from scipy.optimize import minimize

    present = [bool(part.any()) for part in (aleatoric, epistemic)]
    parts = np.stack([aleatoric, epistemic])[present]
    size = float(error.mean()) or 1.0
    units = size / parts.mean(1)  # each part alone would explain the errors with a factor of about one
    parts = parts * (units / size)[:, None]
    squares = error / size

    def cost(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        variance = np.maximum(weights @ parts, _SMALLEST)
        slope = (1 - squares / variance) / variance
        return float(np.mean(np.log(variance) + squares / variance)), (parts * slope).mean(1)

    # several starts: the cost has one valley along each axis where one part explains all
    lowest = np.array([1e-4, 0.0]) if all(present) else np.array([1e-4])
    starts = [(0.5, 0.5), (0.98, 0.02), (0.02, 0.98)] if all(present) else [(1.0,)]
    bounds = [(low, 1e4) for low in lowest]
    found = [minimize(cost, start, jac=True, bounds=bounds, method="L-BFGS-B") for start in starts]
    weights = min(found, key=lambda result: float(result.fun)).x * units
    factors = np.ones(2)
    factors[present] = np.sqrt(weights)
    return float(factors[0]), float(factors[1])
