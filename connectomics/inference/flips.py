"""Average a network over mirror images of a tile, with affinities moved back to the voxel they belong to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from connectomics.affinities import pair_slices
from connectomics.errors import InputError
from connectomics.inference.engines import Engine, Form

AXES_OF = {1: (), 2: (2,), 4: (1, 2), 8: (0, 1, 2)}
"""Which axes (zyx) a number of mirror images flips."""


class FlipAverage:
    """An engine that averages another over mirror images.

    In a mirror image, the affinity of v and v - 1 is predicted at the place of v - 1 as seen from the other
    side: it belongs to a shifted voxel. An image that turns an offset into neither itself nor its opposite
    says nothing of that channel, and is left out of its mean.

    Parameters
    ----------
    engine
        Runs one tile.
    offsets
        Voxel offset (zyx) of each channel.
    flips
        How many images: 1, 2 (x), 4 (y, x), 8 (z, y, x).
    """

    def __init__(self, engine: Engine, offsets: Sequence[Sequence[int]], flips: int) -> None:
        if len(offsets) != engine.form.channels:
            raise InputError(
                f"flips {flips}: mirror images are defined for affinities only; this model has "
                f"{len(offsets)} affinity channels of {engine.form.channels}. Use flips 1."
            )
        self.name = f"{engine.name}, mean of {flips} mirror images"
        self.form: Form = engine.form
        self._engine = engine
        self._offsets = offsets
        axes = AXES_OF[flips]
        self._images = [
            tuple(a for bit, a in enumerate(axes) if number >> bit & 1) for number in range(2 ** len(axes))
        ]

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Mean probabilities of one tile; see `Engine`."""
        total = np.zeros((self.form.channels, *tile.shape[2:]), np.uint16)
        count = np.zeros(total.shape, np.uint8)
        for axes in self._images:
            where = tuple(a + 2 for a in axes)
            seen = self._engine(np.ascontiguousarray(np.flip(tile, where)))
            back = np.flip(seen, tuple(a + 1 for a in axes))
            for channel, offset in enumerate(self._offsets):
                _add(total[channel], count[channel], back[channel], offset, axes)
        return ((total + count // 2) // count).astype(np.uint8)


def _add(
    total: NDArray[np.uint16],
    count: NDArray[np.uint8],
    seen: NDArray[np.uint8],
    offset: Sequence[int],
    axes: tuple[int, ...],
) -> None:
    turned = tuple(-o if a in axes else o for a, o in enumerate(offset))
    if turned == tuple(offset):
        total += seen
        count += 1
    elif turned == tuple(-o for o in offset):
        here, there = pair_slices(offset)
        total[here] += seen[there]
        count[here] += 1
