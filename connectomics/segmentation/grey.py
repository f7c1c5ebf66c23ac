"""How grey fragments are inside: cytoplasm may differ between cells where the membrane between them fails."""

import numpy as np
from numpy.typing import NDArray

from connectomics.roi import IntTriple
from connectomics.segmentation.heights import inside_of
from connectomics.segmentation.settings import SegmentationSettings

STEPS = 32
"""Steps of grey per standard deviation of the image: integers, so that blocks add up exactly."""

LIMIT = 8.0
"""Grey values further from the image's mean than so many standard deviations count as so far."""

SURE = 100
"""Voxels inside a fragment at which half of what its grey value says is believed."""


def block_grey(
    labels: NDArray[np.uint32],
    count: int,
    image: NDArray[np.float32],
    affinities: NDArray[np.uint8],
    corner: IntTriple,
    settings: SegmentationSettings,
) -> NDArray[np.int64]:
    """What one block knows of how grey its fragments are.

    Parameters
    ----------
    labels
        (z, y, x) local fragment of each voxel of the block, 1..count; 0 = background.
    count
        Number of local fragments.
    image
        (z, y, x) grey values there, in standard deviations of the image from its mean.
    affinities
        (c, z, y, x) there, nearest neighbours first: which voxels are inside.
    corner
        Voxel of the whole volume at which the block starts.
    settings
        Holds the threshold of the inside.

    Returns
    -------
    ndarray of int64, (count, 2)
        For each local fragment its voxels inside, and the sum of their grey values in `STEPS`.
    """
    used = (labels > 0) & inside_of(affinities, corner, settings)
    own = labels[used]
    steps = np.rint(STEPS * np.clip(image[used], -LIMIT, LIMIT))
    columns = (np.bincount(own, weights=w, minlength=count + 1)[1:] for w in (None, steps))
    return np.stack([column.astype(np.int64) for column in columns], axis=1)


def penalties(
    u: NDArray[np.int64], v: NDArray[np.int64], grey: NDArray[np.int64], per_deviation: float
) -> NDArray[np.int64]:
    """What edges lose because their two fragments are not equally grey inside.

    Parameters
    ----------
    u, v
        (E,) fragments.
    grey
        (fragments + 1, 2) sums of `block_grey` over all blocks; 0 is the background.
    per_deviation
        Affinity lost per standard deviation of the image, see `SegmentationSettings.grey_penalty`.

    Returns
    -------
    ndarray of int64, (E,)
        Steps of the affinities' 8 bits, 0..255. Where one of the fragments has few voxels inside, its mean is
        no more than a hint: n voxels count for n / (n + `SURE`).
    """
    ends = [grey[end] for end in (u, v)]  # of these alone: there may be many more fragments
    one, other = (total / (STEPS * np.maximum(1, inside)) for inside, total in (end.T for end in ends))
    fewer = np.minimum(ends[0][:, 0], ends[1][:, 0])
    lost = 255 * per_deviation * np.abs(one - other) * fewer / (fewer + SURE)
    return np.minimum(255, np.rint(lost)).astype(np.int64)
