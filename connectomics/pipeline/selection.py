"""Which tiles of the network's lattice a cascade had computed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Box, Grid


@dataclass(frozen=True)
class Selection:
    """Which tiles of a lattice were computed.

    Attributes
    ----------
    grid : Grid
        The tiles' cores over the region.
    numbers : ndarray of int64
        Those computed.
    """

    grid: Grid
    numbers: NDArray[np.int64]

    @cached_property
    def map(self) -> NDArray[np.bool_]:
        """One value a tile."""
        chosen = np.zeros(len(self.grid), bool)
        chosen[self.numbers] = True
        return chosen.reshape(self.grid.counts)

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker: the map is made anew there."""
        return {"grid": self.grid, "numbers": self.numbers}

    def empty(self, box: Box) -> bool:
        """True where no voxel of the box (of the region) was computed."""
        spans = [
            slice((s.start + o) // b, (s.stop - 1 + o) // b + 1)
            for s, o, b in zip(box, self.grid.start, self.grid.block, strict=True)
        ]
        return not self.map[tuple(spans)].any()

    def mask(self, box: Box) -> NDArray[np.bool_]:
        """Which voxels of a box (of the region) were computed."""
        tiles = [
            (np.arange(s.start, s.stop) + o) // b
            for s, o, b in zip(box, self.grid.start, self.grid.block, strict=True)
        ]
        found: NDArray[np.bool_] = self.map[np.ix_(*tiles)]
        return found


def computed_tiles(chosen: Selection | None) -> dict[str, Any]:
    """What a report says of the tiles that were computed."""
    if chosen is None:
        return {}
    return {"tiles": len(chosen.grid), "tiles_computed": len(chosen.numbers)}
