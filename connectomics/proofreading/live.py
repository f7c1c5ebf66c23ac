"""The edited segmentation as an array that is read lazily: what a viewer draws, export writes, score reads."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.io.volume import Volume
from connectomics.proofreading.mapping import Mapping
from connectomics.roi import IntTriple


class LiveSegments:
    """Current segment ids of one level; reads ``labels/fragments`` and looks ids up, nothing is cached.

    Parameters
    ----------
    fragments
        A level of ``labels/fragments``.
    mapping
        The mapping in its current state, whatever that is when something is read.
    factor
        Voxels of the finest level in one of this level, zyx.

    Attributes
    ----------
    shape, ndim, size, dtype
        As of a numpy array; uint64.
    chunks : tuple of int or None
        As stored.
    """

    def __init__(self, fragments: Volume, mapping: Mapping, factor: IntTriple = (1, 1, 1)) -> None:
        raise NotImplementedError

    def __getitem__(self, key: Any) -> NDArray[np.uint64]:
        """Read by integers, slices (with steps), Ellipsis; as numpy would."""
        raise NotImplementedError

    @property
    def volume(self) -> Volume:
        """The same with its place in the world, for `connectomics.evaluation` and `read_box`."""
        raise NotImplementedError
