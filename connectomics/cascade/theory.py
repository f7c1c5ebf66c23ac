"""What a cascade of detectors should find and cost, from each level's error rates and prevalence."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from connectomics.errors import InputError


@dataclass(frozen=True)
class Rates:
    """How one level's detector does on the chunks that it is called on.

    Attributes
    ----------
    sensitivity : float
        P(called positive | the chunk holds truth).
    false_positive_rate : float
        P(called positive | it holds none).
    cost : float
        Seconds a call, context included.
    """

    sensitivity: float
    false_positive_rate: float
    cost: float = 1.0


@dataclass(frozen=True)
class Expectation:
    """What is expected of a cascade; levels count from the finest.

    Attributes
    ----------
    sensitivity, false_positive_rate : float
        Of the whole, over fine chunks.
    precision : float
        Share of the fine chunks found that hold truth; NaN where none is found.
    calls : tuple of float
        Calls at each level.
    seconds : float
        Of all calls.
    saving : float
        Share of the time of the finest level alone that is saved; negative where the cascade costs more.
    """

    sensitivity: float
    false_positive_rate: float
    precision: float
    calls: tuple[float, ...]
    seconds: float
    saving: float


def independent_prevalence(prevalence: float, levels: int, dimensions: int = 3) -> tuple[float, ...]:
    """Share of positive chunks at each level, finest first, where fine chunks are positive independently.

    A coarse chunk is positive if any of its children is; each level halves all axes.

    Examples
    --------
    >>> [round(p, 4) for p in independent_prevalence(0.01, 3)]
    [0.01, 0.0773, 0.4744]
    """
    return tuple(1 - (1 - prevalence) ** (2 ** (dimensions * level)) for level in range(levels))


def expect(
    rates: Sequence[Rates], prevalences: Sequence[float], chunks: float, dimensions: int = 3
) -> Expectation:
    """Calls, time and errors of a cascade whose levels err independently of each other given the truth.

    Objects may cluster in any way: only the share of positive chunks at each level counts. A chunk is called
    iff all that hold it were called positive, so by the finest of these that holds truth, m, a chunk at
    level k is called with probability ``sum_m Q_m prod_{k<j<m} A_j prod_{m<=j<=L} B_j``, where
    ``Q_{k+1} = p_{k+1}``, ``Q_m = p_m - p_{m-1}`` and ``Q_{L+1} = 1 - p_L`` (A false-positive rate, B
    sensitivity, p prevalence). With `independent_prevalence` these are the formulas for independent chunks.
    The idea of the cascade: arXiv 2504.21598.

    Parameters
    ----------
    rates
        Of each level's detector, finest first.
    prevalences
        Share of positive chunks at each level, finest first; never falls from level to level.
    chunks
        Fine chunks.
    dimensions
        Axes that each level halves.

    Raises
    ------
    InputError
        The two differ in length, or a prevalence is impossible.
    """
    if len(rates) != len(prevalences) or not rates:
        raise InputError(f"cascade: got {len(rates)} levels with {len(prevalences)} prevalences.")
    rising = [0.0, *prevalences, 1.0]
    if any(a > b for a, b in itertools.pairwise(rising)):
        raise InputError(
            f"cascade: prevalences must rise with the level, within 0..1; got {list(prevalences)}."
        )
    children = 2**dimensions
    calls = tuple(chunks / children**k * _called(rates, prevalences, k) for k in range(len(rates)))
    sensitivity = math.prod(rate.sensitivity for rate in rates)
    false_positive = _false_positive_rate(rates, prevalences)
    true, false = prevalences[0] * sensitivity, (1 - prevalences[0]) * false_positive
    seconds = sum(n * rate.cost for n, rate in zip(calls, rates, strict=True))
    alone = chunks * rates[0].cost
    return Expectation(
        sensitivity,
        false_positive,
        true / (true + false) if true + false else math.nan,
        calls,
        seconds,
        1 - seconds / alone if alone else math.nan,
    )


def _called(rates: Sequence[Rates], prevalences: Sequence[float], level: int) -> float:
    """Probability that a chunk of `level` is called: every coarser chunk that holds it passed."""
    shares = [*prevalences[level + 1 :], 1.0]
    return _passed(rates, shares, level + 1)


def _false_positive_rate(rates: Sequence[Rates], prevalences: Sequence[float]) -> float:
    """Of a fine chunk without truth: it passes its own level and all above."""
    empty = 1 - prevalences[0]
    if not empty:
        return math.nan
    shares = [(p - prevalences[0]) / empty for p in (*prevalences[1:], 1.0)]
    return rates[0].false_positive_rate * _passed(rates, shares, 1)


def _passed(rates: Sequence[Rates], shares: Sequence[float], first: int) -> float:
    """Probability to pass levels first, first + 1, ...; shares[i] = P(the chunk at first + i holds truth)."""
    total, before = 0.0, 0.0
    for finest, share in enumerate(shares, first):
        empty = math.prod(rate.false_positive_rate for rate in rates[first:finest])
        positive = math.prod(rate.sensitivity for rate in rates[finest:])
        total += (share - before) * empty * positive
        before = share
    return total
