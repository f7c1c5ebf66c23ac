"""The coarse levels of a volume that a cascade looks at: from its pyramid, or averaged from it on the way."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from connectomics.cascade.chunks import counts
from connectomics.errors import InputError
from connectomics.io.opening import open_source, open_volume
from connectomics.io.pyramid import plan_levels
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple


@dataclass(frozen=True)
class Level:
    """A coarse level of a volume.

    Attributes
    ----------
    volume : Volume
        Its voxels.
    factor : tuple of int
        Finest voxels along z, y, x in one of its voxels.
    stored : bool
        True where the pyramid holds it; else each reading averages finest voxels.
    """

    volume: Volume
    factor: IntTriple
    stored: bool

    def counts(self, chunk: IntTriple) -> IntTriple:
        """Chunks along z, y, x."""
        return counts(self.volume.shape, chunk)


def level_factor(finest: Volume, level: int) -> IntTriple:
    """Finest voxels along z, y, x in a voxel of a level, as in our pyramids."""
    total = (1, 1, 1)
    for factor, _ in plan_levels(finest, level + 1):
        total = (total[0] * factor[0], total[1] * factor[1], total[2] * factor[2])
    return total


def open_level(location: str, voxel_size: Sequence[float] | None, level: int) -> Level:
    """Open a coarse level of a volume.

    Raises
    ------
    InputError
        The pyramid's level is not the finest one halved.
    """
    finest = open_volume(location, voxel_size)
    source = open_source(location, voxel_size)
    factor = level_factor(finest, level)
    expected = [v * f for v, f in zip(finest.voxel_size, factor, strict=True)]
    for number in range(source.levels):
        volume = open_volume(location, voxel_size, level=number)
        if np.allclose(volume.voxel_size, expected, rtol=0.02):
            return Level(volume, factor, True)
    if min(n // f for n, f in zip(finest.shape, factor, strict=True)) < 1:
        raise InputError(
            f"{location}: shape {finest.shape} has no level {level}: nothing would be left of it."
        )
    from connectomics.inference.rescale import read_rescaled

    return Level(read_rescaled(finest, expected), factor, False)


def covered(shape: IntTriple, factor: IntTriple, chunk: IntTriple) -> IntTriple:
    """Chunks of a level along z, y, x that it takes to cover the finest voxels, cut ones included."""
    z, y, x = (math.ceil(n / (f * c)) for n, f, c in zip(shape, factor, chunk, strict=True))
    return z, y, x
