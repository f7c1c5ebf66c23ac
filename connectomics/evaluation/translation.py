"""Scores of a translated image against the real one: sums that blocks add to, and what is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.evaluation import membranes
from connectomics.evaluation.image_quality import (
    BANDS,
    WINDOW,
    error_sums,
    power_sums,
    structure_map,
)
from connectomics.evaluation.image_uncertainty import (
    ERROR_BINS,
    NOMINAL,
    SPREAD_BINS,
    covered,
    half_widths,
    joint_counts,
    ranking,
)

HALO = membranes.HALO
"""Voxels around a block that `measure` must see, as far as there are any."""


@dataclass(frozen=True)
class Measure:
    """What is settled before the first block.

    Attributes
    ----------
    span : float
        Range of grey values, for PSNR and structural similarity.
    membrane : float
        Darkness (see `membranes.darkness`) from which on a voxel is membrane.
    voxel_size : tuple of float
        zyx.
    cube : tuple of int
        Voxels of the pieces whose spectrum is taken; blocks are made of whole ones.
    intervals : mapping
        Nominal coverage ("0.5"): half-width in total standard deviations; a Gaussian's where it is not there.
    """

    span: float
    membrane: float
    voxel_size: Sequence[float]
    cube: Sequence[int]
    intervals: Mapping[str, float]


@dataclass
class TranslationSums:
    """What was counted so far; blocks may be added in any order.

    Attributes
    ----------
    errors : (3,) voxels, absolute, squared differences
    structure : (2,) voxels, sum of the structural similarity
    power : (2, BANDS)
    membrane : (4,) see `membranes.matches`
    covered : (4,) voxels inside each interval
    joint : (ERROR_BINS, SPREAD_BINS) voxels by error and uncertainty; none without uncertainty
    """

    errors: NDArray[np.float64]
    structure: NDArray[np.float64]
    power: NDArray[np.float64]
    membrane: NDArray[np.int64]
    covered: NDArray[np.int64]
    joint: NDArray[np.int64]

    @classmethod
    def empty(cls) -> "TranslationSums":
        """Of no voxels."""
        return cls(
            np.zeros(3),
            np.zeros(2),
            np.zeros((2, BANDS)),
            np.zeros(4, np.int64),
            np.zeros(len(NOMINAL), np.int64),
            np.zeros((ERROR_BINS, SPREAD_BINS), np.int64),
        )

    def add(self, other: "TranslationSums") -> None:
        """Add what was counted elsewhere."""
        for name, mine in vars(self).items():
            mine += getattr(other, name)

    def scores(self, span: float) -> dict[str, Any]:
        """The scores under the names of the command line; NaN where nothing was counted.

        Returns
        -------
        dict
            ``psnr_db``; ``ssim``; ``l1`` (grey levels); ``spectrum_ratio``, the power of the translation over
            that of the real image in 8 equal bands of spatial frequency, coarse to fine, and
            ``spectrum_log2``, the mean of its absolute binary logarithm (0: the same power everywhere);
            ``membrane_f1``, ``membrane_precision``, ``membrane_recall`` within one voxel; ``n_voxels``. With
            uncertainty: ``coverage`` of the nominal intervals, and see `image_uncertainty.ranking`.
        """
        voxels, absolute, squared = (float(value) for value in self.errors)
        nan = float("nan")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.power[0] / self.power[1]
            logarithm = np.abs(np.log2(ratio[np.isfinite(ratio) & (ratio > 0)]))
            decibel = 10 * np.log10(span**2 * voxels / np.float64(squared))
        found: dict[str, Any] = {
            "psnr_db": float(decibel) if squared else nan,
            "ssim": float(self.structure[1] / self.structure[0]) if self.structure[0] else nan,
            "l1": absolute / voxels if voxels else nan,
            "spectrum_ratio": [float(value) for value in ratio],
            "spectrum_log2": float(logarithm.mean()) if logarithm.size else nan,
            **membranes.f1(self.membrane),
            "n_voxels": int(voxels),
        }
        judged = int(self.joint.sum())
        if judged:
            shares = (self.covered / judged).tolist()
            found["coverage"] = {f"{p:g}": share for p, share in zip(NOMINAL, shares, strict=True)}
            found |= ranking(self.joint)
        return found


def measure(
    found: NDArray[Any],
    truth: NDArray[Any],
    spread: NDArray[np.float32] | None,
    keep: NDArray[np.bool_],
    inner: tuple[slice, slice, slice],
    how: Measure,
) -> TranslationSums:
    """Count one block.

    Parameters
    ----------
    found, truth
        (z, y, x) grey values of the block and `HALO` voxels around it, fewer at the faces of the region.
    spread
        Total standard deviation of the block alone, grey levels.
    keep
        Voxels to count, with the surroundings.
    inner
        Where the block lies in them.
    how
        See `Measure`.
    """
    image, real = found.astype(np.float32), truth.astype(np.float32)
    counted = np.zeros(keep.shape, bool)
    counted[inner] = keep[inner]
    sums = TranslationSums.empty()
    sums.errors += error_sums(image, real, counted)
    if min(image.shape) >= WINDOW:
        whole = np.zeros(keep.shape, bool)
        half = WINDOW // 2
        whole[half:-half, half:-half, half:-half] = True
        whole &= counted
        sums.structure += (whole.sum(), structure_map(image, real, how.span)[whole].sum())
    if counted[inner].all():  # a masked block has edges of its own
        sums.power += power_sums(image[inner], real[inner], how.voxel_size, how.cube)
    sums.membrane += membranes.matches(image, real, how.membrane, counted)
    if spread is not None:
        here = keep[inner]
        error, sigma = (image[inner] - real[inner])[here], spread[here]
        sums.covered += covered(error, sigma, half_widths(how.intervals))
        sums.joint += joint_counts(error, sigma, how.span)
    return sums
