"""Maximum mean discrepancy: how far two samples of features come from one distribution (float64)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of the Gaussian kernels that are averaged, as multiples of the median distance."""

_ROWS = 256
"""Rows of the kernel matrix that are worked on at once: beside the matrix itself little is held."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Discrepancy:
    """How far two samples are apart.

    Attributes
    ----------
    mmd2 : float
        Unbiased estimate of the squared MMD, -1 to 2; about 0 for one distribution, on either side of it.
    p_value : float
        Share of random regroupings of all crops that are at least as far apart.
    low, high : float
        Bootstrap interval of mmd2, 2.5% to 97.5%.
    """

    mmd2: float
    p_value: float
    low: float
    high: float


def standardised(source: NDArray[np.floating], target: NDArray[np.floating]) -> tuple[Matrix, Matrix]:
    """Both samples, each feature at mean 0 and variance 1 over the two together.

    A feature that hardly varies (a dead channel) is not blown up: its deviation counts as at least a tenth of
    the median one.
    """
    pooled = np.concatenate((source, target)).astype(np.float64)
    deviation = pooled.std(axis=0)
    least = 0.1 * float(np.median(deviation))
    pooled = (pooled - pooled.mean(axis=0)) / np.maximum(deviation, least if least > 0 else 1.0)
    return pooled[: len(source)], pooled[len(source) :]


def kernel_matrix(pooled: NDArray[np.floating]) -> Matrix:
    """Mixture of Gaussian kernels between all pairs; the diagonal, which no unbiased estimate uses, is 0.

    Parameters
    ----------
    pooled
        (n, d) all samples. The median distance between them, which scales the kernels, does not depend on
        which sample each belongs to.

    Returns
    -------
    ndarray of float64, (n, n)
        8 n^2 bytes; half as much again is needed while the median is found.
    """
    values = np.ascontiguousarray(pooled, np.float64)
    count = len(values)
    norms = np.einsum("ij,ij->i", values, values)
    kernel = np.empty((count, count))
    for rows in _slabs(count):
        kernel[rows] = values[rows] @ values.T
        kernel[rows] *= -2
        kernel[rows] += norms[rows, None]
        kernel[rows] += norms
    np.maximum(kernel, 0, out=kernel)
    np.fill_diagonal(kernel, 0)
    median = _median_above_diagonal(kernel) or 1.0
    for rows in _slabs(count):
        squared = kernel[rows] / (-2 * median)
        kernel[rows] = np.exp(squared / FACTORS[0] ** 2)
        for factor in FACTORS[1:]:
            kernel[rows] += np.exp(squared / factor**2)
        kernel[rows] /= len(FACTORS)
    np.fill_diagonal(kernel, 0)
    return kernel


def _slabs(count: int) -> Iterator[slice]:
    return (slice(first, min(first + _ROWS, count)) for first in range(0, count, _ROWS))


def _median_above_diagonal(squared: Matrix) -> float:
    count = len(squared)
    pairs = np.empty(count * (count - 1) // 2)
    place = 0
    for row in range(count - 1):
        pairs[place : place + count - row - 1] = squared[row, row + 1 :]
        place += count - row - 1
    return float(np.median(pairs, overwrite_input=True))


def mmd2(kernel: Matrix, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unbiased squared MMD between weighted groups of the samples.

    Parameters
    ----------
    kernel
        (n, n) with an empty diagonal.
    weights
        (b, n): how often each sample counts in the first group; positive, or negative for the second group.
        A sample is in one group alone.

    Returns
    -------
    ndarray, (b,)
        Pairs of a sample with itself are left out, however often it counts.
    """
    first, second = np.maximum(weights, 0), np.maximum(-weights, 0)
    within_first = np.einsum("bn,bn->b", first @ kernel, first)
    towards_second = second @ kernel
    within_second = np.einsum("bn,bn->b", towards_second, second)
    between = np.einsum("bn,bn->b", towards_second, first)
    a, b = first.sum(1), second.sum(1)
    pairs_first, pairs_second = a**2 - np.square(first).sum(1), b**2 - np.square(second).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may hold one crop alone: NaN
        return within_first / pairs_first + within_second / pairs_second - 2 * between / (a * b)


def _labels(source: int, total: int) -> NDArray[np.float64]:
    weights = -np.ones(total)
    weights[:source] = 1
    return weights


def permutation_p_value(kernel: Matrix, source: int, permutations: int, seed: int) -> float:
    """How often a random regrouping is at least as far apart as the given one; exact at any sample size.

    Parameters
    ----------
    kernel
        Of the pooled samples.
    source
        The first so many are the first group.
    permutations
        Regroupings; the smallest p-value is 1 / (permutations + 1).
    seed
        Of the regroupings.
    """
    random, weights = np.random.default_rng(seed), _labels(source, len(kernel))
    observed = mmd2(kernel, weights[None])[0]
    reached = 0
    for rows in _slabs(permutations):
        regrouped = random.permuted(np.tile(weights, (rows.stop - rows.start, 1)), axis=1)
        reached += int((mmd2(kernel, regrouped) >= observed - 1e-12).sum())
    return (1 + reached) / (1 + permutations)


def bootstrap_interval(
    kernel: Matrix, source: int, resamples: int, seed: int, coverage: float = 0.95
) -> tuple[float, float]:
    """Interval of the squared MMD over crops drawn again with replacement from each sample.

    It takes crops as independent; those of one volume are not quite, so it is rather too narrow.
    """
    random, total = np.random.default_rng(seed), len(kernel)
    found = []
    for rows in _slabs(resamples):
        many = rows.stop - rows.start
        counts = [random.multinomial(n, np.full(n, 1 / n), many) for n in (source, total - source)]
        found.append(mmd2(kernel, np.concatenate((counts[0], -counts[1]), axis=1).astype(np.float64)))
    values = np.concatenate(found)
    low, high = np.nanquantile(values, ((1 - coverage) / 2, (1 + coverage) / 2))
    return float(low), float(high)


def compare_samples(
    source: NDArray[np.floating],
    target: NDArray[np.floating],
    permutations: int = 999,
    resamples: int = 400,
    seed: int = 0,
) -> tuple[Discrepancy, Matrix]:
    """Squared MMD of two samples of features, with p-value and interval; and the kernel matrix.

    Raises
    ------
    InputError
        A sample has fewer than two rows, they have different features, or some are not finite.
    """
    if min(len(source), len(target)) < 2 or source.shape[1:] != target.shape[1:]:
        raise InputError(
            f"MMD: need two samples of at least 2 rows of the same features, got {source.shape} and "
            f"{target.shape}."
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise InputError("MMD: some features are NaN or infinite.")
    kernel = kernel_matrix(np.concatenate(standardised(source, target)))
    found = float(mmd2(kernel, _labels(len(source), len(kernel))[None])[0])
    p_value = permutation_p_value(kernel, len(source), permutations, seed)
    low, high = bootstrap_interval(kernel, len(source), resamples, seed)
    return Discrepancy(found, p_value, low, high), kernel


def within_source(kernel: Matrix, group: NDArray[np.integer]) -> NDArray[np.float64]:
    """How far each group of the source's own crops lies from the others: squared MMD, same kernel.

    Parameters
    ----------
    kernel
        Of source and target; the first ``len(group)`` rows are the source.
    group
        Which volume each source crop is of. Groups of a single crop are left out.
    """
    count = len(group)
    numbers = [n for n in np.unique(group) if 2 <= (group == n).sum() <= count - 2]
    if not numbers:
        return np.empty(0)
    weights = np.stack([np.where(group == n, 1.0, -1.0) for n in numbers])
    return mmd2(kernel[:count, :count], weights)
