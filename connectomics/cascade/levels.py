"""The coarse levels of a volume that a cascade looks at: from its pyramid, or averaged from it on the way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from connectomics.cascade.chunks import counts
from connectomics.errors import InputError
from connectomics.inference.memory import LARGEST_CORE
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
        The volume is too small for it.
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


def meeting(box: Iterable[slice], chunk: IntTriple, factor: IntTriple) -> tuple[slice, slice, slice]:
    """Chunks of a level that meet a box of finest voxels.

    Examples
    --------
    >>> meeting((slice(0, 10), slice(8, 9), slice(7, 17)), (4, 4, 4), (1, 1, 2))
    (slice(0, 3, None), slice(2, 3, None), slice(0, 3, None))
    """
    z, y, x = (
        slice(s.start // (c * f), -(-s.stop // (c * f))) for s, c, f in zip(box, chunk, factor, strict=True)
    )
    return z, y, x


def tile_edge(chunk: IntTriple, factor: IntTriple) -> int:
    """Edge, in finest voxels, of the tiles that a cascade chooses among: a chunk of its finest coarse level,
    no larger than the tiles of a run without a cascade."""
    return min(LARGEST_CORE, max(c * f for c, f in zip(chunk, factor, strict=True)))
