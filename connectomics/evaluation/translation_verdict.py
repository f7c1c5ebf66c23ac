"""Whether a translation helps: segmentations of the X-ray, of the translation and of the real EM."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError

CLEAR = 3.0
"""A difference counts when it is more than so many times its spread over the seeds."""


@dataclass(frozen=True)
class Verdict:
    """What three kinds of segmentation say of a translation; VOI sums in bits, means over the seeds.

    Attributes
    ----------
    direct, translated, real : float
        Of the segmentation made from the X-ray itself, from the translation, and from the real EM.
    gap, gap_spread : float
        direct - real, and its standard deviation over the seeds (NaN of one): what there is to gain.
    gain, gain_spread : float
        direct - translated, and its standard deviation (NaN of one seed).
    """

    direct: float
    translated: float
    real: float
    gap: float
    gap_spread: float
    gain: float
    gain_spread: float

    @property
    def has_gap(self) -> bool:
        """True where the real EM is clearly better to segment than the X-ray; else nothing can be said."""
        return self.gap > (0 if math.isnan(self.gap_spread) else CLEAR * self.gap_spread)

    @property
    def recovered(self) -> float:
        """Share of the gap that the translation makes up for; NaN without a gap."""
        return self.gain / self.gap if self.has_gap else float("nan")

    def __str__(self) -> str:
        shown = (
            f"VOI sum {self.direct:.3f} from the X-ray, {self.translated:.3f} from the translation, "
            f"{self.real:.3f} from the real EM"
        )
        if not self.has_gap:
            spread = "" if math.isnan(self.gap_spread) else f", spread {self.gap_spread:.3f}"
            return f"no gap to close ({self.gap:.3f} bits{spread}): {shown}. Make the X-ray coarser."
        if abs(self.gain) <= CLEAR * self.gain_spread:
            said = (
                f"translation made no clear difference ({self.gain:+.3f} bits, spread {self.gain_spread:.3f})"
            )
        elif self.gain > 0:
            said = f"translation helped, by {self.gain:.3f} bits"
        else:
            said = f"translation did not help: it cost {-self.gain:.3f} bits"
        alone = " One run of each: another seed may say otherwise." if math.isnan(self.gap_spread) else ""
        return f"{said}, {100 * self.recovered:.0f}% of the gap: {shown}.{alone}"


def verdict(direct: Sequence[float], translated: Sequence[float], real: Sequence[float]) -> Verdict:
    """Judge a translation by VOI sums, one of each kind for each seed, in the same order.

    Parameters
    ----------
    direct, translated, real
        VOI sums (bits) of one network recipe on the X-ray, the translation and the real EM.

    Raises
    ------
    InputError
        None, or not as many of each.

    Examples
    --------
    >>> print(verdict([2.0, 2.1], [1.5, 1.6], [1.0, 1.1]))
    translation helped, by 0.500 bits, 50% of the gap: VOI sum 2.050 from the X-ray, 1.550 from the \
translation, 1.050 from the real EM.
    """
    kinds = [np.asarray(values, np.float64) for values in (direct, translated, real)]
    if len({values.size for values in kinds}) > 1 or kinds[0].size < 1:
        raise InputError(f"verdict: needs as many VOI sums of each kind, got {[v.size for v in kinds]}.")
    gap, gain = kinds[0] - kinds[2], kinds[0] - kinds[1]
    direct_voi, translated_voi, real_voi = (float(values.mean()) for values in kinds)
    return Verdict(
        direct=direct_voi,
        translated=translated_voi,
        real=real_voi,
        gap=float(gap.mean()),
        gap_spread=_spread(gap),
        gain=float(gain.mean()),
        gain_spread=_spread(gain),
    )


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else math.nan
