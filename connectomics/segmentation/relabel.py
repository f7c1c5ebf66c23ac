"""Labels through a lookup table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def relabel(labels: NDArray[Any], lut: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Replace every label by its entry of `lut`.

    Parameters
    ----------
    labels
        Integers 0..len(lut) - 1, any shape.
    lut
        New id of each label; ``lut[0]`` is that of the background.

    Returns
    -------
    ndarray of uint64
        Same shape.
    """
    return np.take(lut, labels)
