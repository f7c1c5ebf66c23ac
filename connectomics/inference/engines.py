"""What runs a network on one tile: the protocol that every engine fulfils."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from connectomics.roi import IntTriple

QUANTA = 255
"""Probabilities are stored as ``round(255 p)``."""


Precision = Literal["f32", "bf16"]
"""What a network computes with; what goes in and comes out is the same."""


@dataclass(frozen=True)
class Form:
    """What comes out of an engine.

    Attributes
    ----------
    channels : int
        How many.
    scale : IntTriple
        Output voxels per input voxel, zyx.
    dtype : dtype
        Type of the values.
    """

    channels: int
    scale: IntTriple = (1, 1, 1)
    dtype: Any = np.uint8

    def empty(self, box: Sequence[slice]) -> NDArray[Any]:
        """An array (c, z, y, x) for the output of a box of input voxels; nothing is in it yet."""
        edges = [(s.stop - s.start) * f for s, f in zip(box, self.scale, strict=True)]
        return np.empty((self.channels, *edges), self.dtype)


class Engine(Protocol):
    """A network made ready for one device."""

    @property
    def name(self) -> str:
        """Engine and device, for logs and reports."""

    @property
    def form(self) -> Form:
        """What comes out."""

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[Any]:
        """What the network says of one tile.

        Parameters
        ----------
        tile
            (1, c, z, y, x) normalised intensities, each side a multiple of the network's divisor.

        Returns
        -------
        ndarray
            (k, z, y, x) of the engine's `form`: of affinities ``round(255 * sigmoid(logits))`` of the leading
            k channels, uint8.
        """
