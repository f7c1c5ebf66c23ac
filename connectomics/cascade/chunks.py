"""Maps of chunks, one value a chunk: made finer and coarser, and dilated."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from connectomics.roi import IntTriple

Chunks = NDArray[np.bool_]


def counts(shape: Sequence[int], chunk: Sequence[int]) -> IntTriple:
    """Chunks along z, y, x over a volume; the last of an axis may be cut.

    Examples
    --------
    >>> counts((100, 64, 32), (32, 32, 32))
    (4, 2, 1)
    """
    z, y, x = (math.ceil(n / c) for n, c in zip(shape, chunk, strict=True))
    return z, y, x


def refined(chosen: Chunks, ratio: Sequence[int], shape: Sequence[int]) -> Chunks:
    """Which chunks of a grid of `shape` lie in those chosen of a grid `ratio` times as coarse."""
    for axis, (n, r) in enumerate(zip(shape, ratio, strict=True)):
        chosen = chosen.repeat(r, axis).take(np.arange(n), axis)
    return chosen


def coarsened(chosen: Chunks, ratio: Sequence[int]) -> Chunks:
    """Which chunks of a grid `ratio` times as coarse hold any of those chosen.

    Examples
    --------
    >>> coarsened(np.array([[[True, False, False]]]), (1, 1, 2)).tolist()
    [[[True, False]]]
    """
    for axis, r in enumerate(ratio):
        starts = np.arange(0, chosen.shape[axis], r)
        chosen = np.logical_or.reduceat(chosen, starts, axis=axis)
    return chosen
