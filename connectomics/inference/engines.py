"""What runs a network on one tile: the protocol that torch and OpenVINO fulfil."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

QUANTA = 255
"""Probabilities are stored as ``round(255 p)``."""


Precision = Literal["f32", "bf16"]
"""What a network computes with; what goes in and comes out is the same."""


class Engine(Protocol):
    """A network made ready for one device."""

    @property
    def name(self) -> str:
        """Engine and device, for logs and reports."""

    @property
    def channels(self) -> int:
        """Channels that come out."""

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Probabilities of one tile.

        Parameters
        ----------
        tile
            (1, c, z, y, x) normalised intensities, each side a multiple of the network's divisor.

        Returns
        -------
        ndarray
            (k, z, y, x), ``round(255 * sigmoid(logits))`` of the leading k channels.
        """
