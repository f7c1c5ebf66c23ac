"""How far stated probabilities of being wrong can be believed, and how well they sort what is wrong."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 15
"""Bins of the calibration error, with equally many cases in each."""

FIRST = 0.1
"""Share of the cases that a person looks at first."""


def reliability(
    stated: NDArray[np.floating], wrong: NDArray[np.bool_], weight: NDArray[np.floating]
) -> dict[str, float]:
    """Judge stated probabilities by what came true.

    Parameters
    ----------
    stated
        (n,) probability of being wrong.
    wrong
        (n,) whether it was.
    weight
        (n,) what being wrong costs, such as voxels.

    Returns
    -------
    dict
        n; wrong: how many are; brier, and brier_skill over stating their share for all (1 is perfect, 0 no
        better); average_precision; calibration_error over `BINS` bins, and calibration_error_if_perfect, what
        chance alone would make of it (mean of 200 draws); and of the weight of all that is wrong, the share
        found in the first tenth: found_first sorted by `stated`, found_first_weighted by `stated` times
        weight, found_first_ceiling by the truth. NaN where nothing or all is wrong.

    Examples
    --------
    >>> scores = reliability(np.array([0.1, 0.2, 0.9]), np.array([False, False, True]), np.ones(3))
    >>> round(scores["brier"], 3), round(scores["brier_skill"], 2), scores["average_precision"]
    (0.02, 0.91, 1.0)
    """
    share = float(wrong.mean()) if len(wrong) else float("nan")
    brier = float(np.mean((stated - wrong) ** 2)) if len(wrong) else float("nan")
    constant = share * (1 - share)
    draws = np.random.default_rng(0).random((200, len(stated))) < stated
    by_chance = [calibration_error(stated, drawn) for drawn in draws] if len(stated) else [float("nan")]
    return {
        "n": len(wrong),
        "wrong": int(wrong.sum()),
        "brier": brier,
        "brier_skill": 1 - brier / constant if constant > 0 else float("nan"),
        "average_precision": average_precision(stated, wrong),
        "calibration_error": calibration_error(stated, wrong),
        "calibration_error_if_perfect": float(np.mean(by_chance)),
        "found_first": found_first(stated, weight * wrong),
        "found_first_weighted": found_first(stated * weight, weight * wrong),
        "found_first_ceiling": found_first(weight * wrong, weight * wrong),
    }


def bins(stated: NDArray[np.floating], wrong: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean stated probability, share wrong and number of cases of each bin, (b, 3); equally many in each."""
    order = np.argsort(stated, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return np.array([(stated[p].mean(), wrong[p].mean(), len(p)) for p in parts]).reshape(-1, 3)


def calibration_error(stated: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """Mean distance between the stated probability and the share that is wrong, over `bins`."""
    said, found, number = bins(stated, wrong).T
    return float(np.average(np.abs(said - found), weights=number)) if len(said) else float("nan")


def average_precision(stated: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """Area under precision against recall, as a sum over the distinct values of `stated`."""
    order = np.argsort(-stated, kind="stable")
    hits = np.cumsum(wrong[order])
    last = np.flatnonzero(np.append(np.diff(stated[order]) != 0, True)) if len(order) else order
    if not len(hits) or not hits[-1]:
        return float("nan")
    gained = np.diff(np.concatenate(([0], hits[last])))
    return float(np.sum(gained * hits[last] / (last + 1)) / hits[-1])


def found_first(rank: NDArray[np.floating], lost: NDArray[np.floating]) -> float:
    """Share of what is lost in the first tenth (`FIRST`) of the cases, the highest rank first."""
    number = int(np.ceil(FIRST * len(rank)))
    first = np.argsort(-rank, kind="stable")[:number]
    return float(lost[first].sum() / lost.sum()) if lost.sum() > 0 else float("nan")


def draw_reliability(cases: dict[str, tuple[NDArray[np.floating], NDArray[np.bool_]]]) -> "Figure":
    """Draw stated against observed, a panel for each case of (stated, wrong), with 95% intervals.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig(path)``; no window is opened.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(cases), 3.8), layout="constrained")
    for axes, (name, (stated, wrong)) in zip(
        figure.subplots(1, len(cases), squeeze=False)[0], cases.items(), strict=True
    ):
        axes.plot((0, 1), (0, 1), color="0.7", linewidth=1)
        said, found, number = bins(stated, wrong).T
        low, high = _interval(found, number)
        axes.errorbar(said, found, (found - low, high - found), fmt="o", markersize=4, linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="stated probability of being wrong")
        axes.set_title(f"{name}\n{len(wrong)} edges, {int(wrong.sum())} wrong", fontsize=10)
        axes.set_ylabel("share that is wrong")
    return figure


def _interval(
    share: NDArray[np.float64], number: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's interval of a share."""
    z = 1.96
    centre = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * np.sqrt(share * (1 - share) / number + z * z / (4 * number**2))
    return np.minimum(centre - half, share), np.maximum(centre + half, share)
