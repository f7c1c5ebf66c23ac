"""Intensities as the network wants them: an affine map, given or measured on a sample of the volume."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError

Box = tuple[slice, slice, slice]


class ConstantError(InputError):
    """Nothing can be scaled by what was looked at of a volume: it holds one value."""


@dataclass(frozen=True)
class Affine:
    """``(raw - mean) / std``, in the raw volume's own intensities."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise InputError(f"normalisation: need a finite mean and a positive std, got {self}.")

    def apply(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise to float32.

        Raises
        ------
        InputError
            NaN or infinite intensities.
        """
        result = raw.astype(np.float32)
        if raw.dtype.kind == "f" and not np.isfinite(result).all():
            raise InputError(
                "the volume holds NaN or infinite intensities here. Replace them (for example by the mean) "
                "and run again."
            )
        result -= np.float32(self.mean)
        result *= np.float32(1 / self.std)
        return result


def sample_affine(read: Callable[[Box], NDArray[Any]], shape: Sequence[int]) -> Affine:
    """Mean and standard deviation over blocks spread evenly through a volume.

    Blocks of 32 voxels a side, 3 along each axis; where those hold a single value, of 64 voxels, 7 along
    each axis. The same blocks at every call, so a run that resumes normalises as it began; memory is one
    block. NaN and infinite voxels do not count: a region without them can be computed.

    Parameters
    ----------
    read
        Reads a box of voxels.
    shape
        The volume's voxels, zyx.

    Raises
    ------
    ConstantError
        All sampled voxels have one value.
    InputError
        All sampled voxels are NaN or infinite.
    """
    for per_axis, edge in ((3, 32), (7, 64)):
        count, mean, variance = _moments(read, shape, per_axis, edge)
        if count and variance > 1e-12 * max(1.0, mean * mean):
            return Affine(mean, math.sqrt(variance))
    if not count:
        raise InputError("the volume holds NaN or infinite intensities: replace them and run again.")
    raise ConstantError(
        f"the volume is constant: all {count} sampled voxels are {mean:g}. Check the path and data set."
    )


def _moments(
    read: Callable[[Box], NDArray[Any]], shape: Sequence[int], per_axis: int, edge: int
) -> tuple[int, float, float]:
    """Number, mean and variance of the finite voxels of blocks spread evenly."""
    starts = [np.unique(np.linspace(0, max(0, n - edge), per_axis).astype(int)) for n in shape]
    count, total, squares = 0, 0.0, 0.0
    for corner in itertools.product(*starts):
        z, y, x = (slice(int(a), int(min(a + edge, n))) for a, n in zip(corner, shape, strict=True))
        values = read((z, y, x)).astype(np.float64)
        values = values[np.isfinite(values)]
        count += values.size
        total += float(values.sum())
        squares += float(np.square(values).sum())
    mean = total / max(1, count)
    return count, mean, squares / max(1, count) - mean * mean
