"""The picture of a translation: X-ray, translation, real EM, its two uncertainties and its error."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from connectomics.evaluation.pictures import grey_rgb

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_translation(
    xray: NDArray[Any],
    em: NDArray[Any],
    real: NDArray[Any],
    spreads: dict[str, NDArray[Any]],
    title: str = "",
) -> "Figure":
    """Draw one place six times (fewer without some spread): X-ray, translation, real EM, spreads, |error|.

    Translation and real EM share their stretch of grey values; spreads and error share one scale of grey
    levels, up to the 99th percentile of the error, so that where the error is larger than stated shows.

    Parameters
    ----------
    xray
        (y, x) slice, of any resolution.
    em, real
        (y, x) slices of one shape.
    spreads
        By name (``aleatoric``, ``epistemic``), standard deviations in grey levels, of the same shape.
    title
        Written above.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig(path)``; no window is opened.
    """
    from matplotlib.figure import Figure

    error = np.abs(em.astype(np.float32) - real)
    grey = grey_rgb(np.concatenate([em, real]))
    images = {"X-ray": grey_rgb(xray), "translation": grey[: len(em)], "real EM": grey[len(em) :]}
    maps = {**spreads, "|error|": error}
    figure = Figure(figsize=(3.1 * (len(images) + len(maps)) + 0.8, 3.6), layout="constrained")
    axes = figure.subplots(1, len(images) + len(maps))
    for place, (name, image) in zip(axes, images.items(), strict=False):
        place.imshow(image, interpolation="nearest")
        place.set_title(name, fontsize=10)
    top = float(np.percentile(error, 99)) or 1.0
    for place, (name, values) in zip(axes[len(images) :], maps.items(), strict=True):
        shown = place.imshow(values.astype(np.float32), cmap="magma", vmin=0, vmax=top)
        place.set_title(name, fontsize=10)
    figure.colorbar(shown, ax=list(axes[len(images) :]), label="grey levels", shrink=0.8)
    for place in axes:
        place.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
