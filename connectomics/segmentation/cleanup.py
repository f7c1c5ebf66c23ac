"""Global decisions about final objects, made on sums over all blocks."""

import numpy as np
from numpy.typing import NDArray


def drop_small(lut: NDArray[np.uint64], sizes: NDArray[np.int64], smallest: int) -> NDArray[np.uint64]:
    """Send objects of fewer than `smallest` voxels to background, and number the rest 1..k in their order.

    Parameters
    ----------
    lut
        (fragments + 1,) segment of every fragment; ``lut[0] = 0``.
    sizes
        (fragments + 1,) voxels of every fragment over the whole volume.
    smallest
        Voxels.

    Examples
    --------
    >>> lut = np.array([0, 1, 2, 1], np.uint64)
    >>> drop_small(lut, np.array([0, 5, 3, 5]), 4).tolist()
    [0, 1, 0, 1]
    """
    segment = lut.astype(np.uint64, copy=False).view(np.int64)
    voxels = np.zeros(int(lut.max(initial=0)) + 1, np.int64)
    np.add.at(voxels, segment, sizes)
    kept = voxels >= max(1, smallest)
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.uint64)[segment]
