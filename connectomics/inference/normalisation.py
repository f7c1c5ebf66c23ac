"""Intensities as the network wants them: an affine map, given or measured on a sample of the volume."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError

Box = tuple[slice, slice, slice]


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


def sample_affine(
    read: Callable[[Box], NDArray[Any]], shape: Sequence[int], blocks: int = 27, edge: int = 32
) -> Affine:
    """Mean and standard deviation over blocks spread evenly through a volume.

    The same blocks at every call, so a run that resumes normalises as it began; memory is one block.

    Parameters
    ----------
    read
        Reads a box of voxels.
    shape
        The volume's voxels, zyx.
    blocks
        About how many blocks (a cube of a whole number).
    edge
        Edge of a block, voxels.

    Raises
    ------
    InputError
        All sampled voxels have one value, or some are NaN or infinite.
    """
    per_axis = max(1, round(blocks ** (1 / 3)))
    starts = [np.unique(np.linspace(0, max(0, n - edge), per_axis).astype(int)) for n in shape]
    count, total, squares = 0, 0.0, 0.0
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                box = [slice(int(a), int(min(a + edge, n))) for a, n in zip((z, y, x), shape, strict=True)]
                values = read((box[0], box[1], box[2])).astype(np.float64)
                count += values.size
                total += float(values.sum())
                squares += float(np.square(values).sum())
    mean = total / count
    variance = squares / count - mean * mean
    if not math.isfinite(variance):
        raise InputError("the volume holds NaN or infinite intensities: replace them and run again.")
    if variance <= 1e-12 * max(1.0, mean * mean):
        raise InputError(
            f"the volume is constant: all {count} sampled voxels are {mean:g}. Check the path and data set."
        )
    return Affine(mean, math.sqrt(variance))
