"""The picture of a plan: scores so far, the curves that they allow, and what more cubes would buy."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from connectomics.adaptation.plan import AHEAD, fit_curve, interval_shares
from connectomics.adaptation.settings import PlanSettings
from connectomics.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")


def draw_plan(axes: "Axes", cubes: Sequence[float], scores: Sequence[float], settings: PlanSettings) -> None:
    """Draw scores against annotated cubes, with the median curve and its interval.

    Parameters
    ----------
    axes
        Where to draw; further scores may be drawn over it.
    cubes, scores
        As for `adaptation.plan.fit_curve`: VOI sum in bits.
    settings
        ``coverage`` is that of the interval.
    """
    curve = fit_curve(cubes, scores)
    places = np.geomspace(min(cubes), max(AHEAD) * max(cubes), 60)
    shares = interval_shares(settings)
    low, middle, high = np.transpose([curve.quantiles(curve.at(n), shares) for n in places])
    axes.fill_between(places, low, high, color="#648fff", alpha=0.25, lw=0, label=f"{settings.coverage:.0%}")
    axes.plot(places, middle, color="#648fff", label="fitted curve")
    axes.axvline(max(cubes), color="#9a9a9a", lw=1, ls=":")
    axes.plot(cubes, scores, "o", color="#202020", label="so far")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, 1.1 * max(*high, *scores))
    axes.set_xlabel("annotated cubes")
    axes.set_ylabel("VOI sum, bits")


def save_plan(path: Path, cubes: Sequence[float], scores: Sequence[float], settings: PlanSettings) -> None:
    """Write the picture of a plan to a file (`SUFFIXES`).

    Raises
    ------
    InputError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axes = figure.subplots()
    draw_plan(axes, cubes, scores, settings)
    axes.legend(frameon=False)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InputError(f"--picture {path}: {error.strerror}.") from error


def check_picture(path: Path) -> None:
    """Refuse a name that no picture can be written under, before anything else is done.

    Raises
    ------
    InputError
        Another ending than those of `SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--picture {path}: name a file that ends with {', '.join(SUFFIXES)}.")
