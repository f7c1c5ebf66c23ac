"""What more annotation would buy: a power law with a floor through the scores so far, with intervals."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.adaptation.settings import PlanSettings
from connectomics.errors import InputError

Floats = NDArray[np.float64]

_FLOORS, _EXPONENTS, _SCALES, _NOISES = 50, 40, 60, 16
_HIGHEST_FLOOR = 1.25
"""In best scores: one that fell low by chance lies below the floor."""

_EXCESS = (0.02, 3.0)
"""Above the floor at the fewest cubes, in highest scores: between these, the larger the likelier."""

_TYPICAL_EXPONENT, _EXPONENT_SPREAD = 0.5, 0.6
"""Error falls with the number of examples to the power -0.5, within a factor of e^0.6 or so either way."""

_LEAST = 1e-3
"""A perfect score counts as this: the curve is fitted to logarithms."""

_NOISE, _TYPICAL_NOISE, _NOISE_SPREAD = (0.01, 0.5), 0.1, 0.7
"""Relative deviation of a score from the curve: the range tried; a tenth, within a factor of e^0.7 or so
either way, as training seeds differ. Three scores alone cannot tell it."""


AHEAD = (2, 4, 8)
"""Numbers of cubes that are foreseen, over the most so far."""


@dataclass(frozen=True)
class Curve:
    """score(n) = floor + scale n^-exponent, as a weighted set of curves that the scores allow.

    Attributes
    ----------
    floor, scale, exponent, weight : (k,) float64
        Of each curve; the weights sum to 1.
    """

    floor: Floats
    scale: Floats
    exponent: Floats
    weight: Floats

    def at(self, cubes: float) -> Floats:
        """The score of every curve at a number of cubes."""
        return self.floor + self.scale * float(cubes) ** -self.exponent

    def quantiles(self, values: Floats, shares: Sequence[float]) -> list[float]:
        """Weighted quantiles of one value a curve."""
        order = np.argsort(values)
        reached = np.cumsum(self.weight[order])
        places = np.searchsorted(reached, np.asarray(shares) * reached[-1])
        return [float(v) for v in values[order][np.minimum(places, len(values) - 1)]]


def fit_curve(cubes: Sequence[float], scores: Sequence[float]) -> Curve:
    """The curves that scores at several numbers of cubes allow, weighted by how well they fit.

    A grid of floors, exponents, scales and noises, each curve weighted by the likelihood of the scores'
    logarithms; exponents near 0.5 count for more. With few points the weights stay spread, which is the
    interval of what is predicted.

    Parameters
    ----------
    cubes
        Numbers of annotated cubes, above 0; a number may come several times (seeds).
    scores
        The lower the better, not below 0: VOI sum in bits.

    Raises
    ------
    InputError
        Fewer than two different numbers of cubes, or values below 0.
    """
    n, y = np.asarray(cubes, np.float64), np.asarray(scores, np.float64)
    y = np.where((y >= 0) & (y < _LEAST), _LEAST, y)
    if len(n) != len(y) or len(np.unique(n)) < 2:
        raise InputError(
            "plan: needs scores at two different numbers of cubes at least, better at 1, 2 and 4; got "
            f"them at {sorted({int(v) for v in n})}. Run 'adapt finetune --crops 1' (2, 4)."
        )
    if not (np.isfinite(y).all() and (y > 0).all() and (n > 0).all()):
        raise InputError(
            f"plan: scores and numbers of cubes must be above 0, got {y.tolist()} at {n.tolist()}."
        )
    floors = np.linspace(0, _HIGHEST_FLOOR * y.min(), _FLOORS)[:, None, None]
    exponents = np.geomspace(0.1, 2.5, _EXPONENTS)[None, :, None]
    scales = np.geomspace(*_EXCESS, _SCALES) * y.max() * n.min() ** exponents
    squares = np.zeros(np.broadcast_shapes(floors.shape, scales.shape))
    for cubes_here, score in zip(n, y, strict=True):
        squares += np.square(np.log((floors + scales * cubes_here**-exponents) / score))
    noises = np.geomspace(*_NOISE, _NOISES)
    likelihoods = (
        -squares / (2 * noise**2)
        - len(y) * np.log(noise)
        - 0.5 * (np.log(noise / _TYPICAL_NOISE) / _NOISE_SPREAD) ** 2
        for noise in noises
    )
    prior = -0.5 * (np.log(exponents / _TYPICAL_EXPONENT) / _EXPONENT_SPREAD) ** 2
    prior = prior + 0.5 * np.log(np.geomspace(*_EXCESS, _SCALES))  # a flat curve is one of few
    logs = functools.reduce(np.logaddexp, likelihoods) + prior
    weight = np.exp(logs - logs.max())
    floor, scale, exponent = (np.broadcast_to(a, weight.shape).ravel() for a in (floors, scales, exponents))
    return Curve(floor, scale, exponent, weight.ravel() / weight.sum())


def plan(cubes: Sequence[float], scores: Sequence[float], settings: PlanSettings) -> dict[str, Any]:
    """What the next cubes would buy.

    Returns
    -------
    dict
        ``points``; ``fit`` (``floor``, ``scale``, ``exponent``: medians); ``predictions`` at 2, 4 and 8 times
        the cubes so far, each ``cubes``, ``voi``, ``voi_low``, ``voi_high``; ``gain``, ``gain_low``,
        ``gain_high``: the share of the VOI at the cubes so far that doubling them would take off;
        ``annotate_more`` and ``advice``.
    """
    curve, most = fit_curve(cubes, scores), max(cubes)
    shares = interval_shares(settings)
    rows = []
    for factor in AHEAD:
        low, middle, high = curve.quantiles(curve.at(factor * most), shares)
        rows.append({"cubes": int(factor * most), "voi": middle, "voi_low": low, "voi_high": high})
    now = curve.at(most)
    gain_low, gain, gain_high = curve.quantiles(1 - curve.at(2 * most) / now, shares)
    more = gain >= settings.worth
    fit = {name: curve.quantiles(getattr(curve, name), (0.5,))[0] for name in ("floor", "scale", "exponent")}
    order = sorted(zip(cubes, scores, strict=True))
    return {
        "points": [{"cubes": int(n), "voi": float(y)} for n, y in order],
        "fit": fit,
        "predictions": rows,
        "gain": gain,
        "gain_low": gain_low,
        "gain_high": gain_high,
        "annotate_more": more,
        "advice": _advice(int(most), rows[0], (gain_low, gain, gain_high), more),
    }


def interval_shares(settings: PlanSettings) -> tuple[float, float, float]:
    """Quantiles of the low end, the middle and the high end of what is foreseen."""
    return (1 - settings.coverage) / 2, 0.5, (1 + settings.coverage) / 2


def _advice(most: int, row: dict[str, Any], gain: tuple[float, float, float], more: bool) -> str:
    low, middle, high = (f"{100 * value:.0f}%" for value in gain)
    found = (
        f"{row['cubes'] - most} more cubes would take {middle} ({low} to {high}) off the VOI, "
        f"to {row['voi']:.3f} ({row['voi_low']:.3f} to {row['voi_high']:.3f})"
    )
    return f"{found}: worth annotating." if more else f"annotate no more: {found}."
