"""What other libraries want affinities to look like: every conversion is here and nowhere else.

Ours: uint8, 255 = one object; the value at v says whether v and v + offset (negative) are one object.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mutex_affinities(affinities: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Affinities for bioimage-cpp's mutex watershed.

    It reads values at v for the pair v and v + offset, as we do; its first (attractive) channels are high
    where voxels belong together, all others (mutex) are high where they do not.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, the three nearest-neighbour channels first.

    Returns
    -------
    mutex
        (c, z, y, x) float32, 0..1: three attractive channels, then the repulsive ones.
    """
    converted = affinities * np.float32(1 / 255)
    np.subtract(np.float32(1), converted[3:], out=converted[3:])
    return converted


def waterz_affinities(affinities: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Affinities for waterz: the three nearest-neighbour channels alone, contiguous, 1 = one object.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, the three nearest-neighbour channels first.

    Returns
    -------
    nearest
        (3, z, y, x) float32, 0..1; the value at v belongs to v and v - 1 along the channel's axis, as ours
        does.
    """
    nearest: NDArray[Any] = affinities[:3] * np.float32(1 / 255)
    return np.ascontiguousarray(nearest)
