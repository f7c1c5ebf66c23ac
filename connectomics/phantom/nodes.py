"""Nodes of Ranvier: where a fibre's myelin stops for about a micrometre and the axon narrows."""

import numpy as np
from numba import njit

from connectomics.phantom.hashing import combine, smooth_step, unit

PARANODE = 2.5
"""Length of the dark taper on each side of a node, um."""


@njit(cache=True, nogil=True)
def node_profile(tissue, fibre, w):  # type: ignore[no-untyped-def]
    """Return (cover, narrowing) of the fibre with hash `fibre` at `w` (um).

    `cover` is 1 under myelin and 0 in a node; `narrowing` rises from 0 to 1 through the paranodes.
    """
    if tissue.node_spacing <= 0.0:
        return 1.0, 0.0
    spacing = tissue.node_spacing * (0.7 + 0.6 * unit(combine(fibre, 41)))
    turn = w / spacing + unit(combine(fibre, 42))
    distance = abs(turn - np.floor(turn) - 0.5) * spacing
    half = 0.5 * tissue.node_length
    cover = smooth_step((distance - half) / 0.8)
    narrowing = 1.0 - smooth_step((distance - half) / PARANODE)
    return cover, narrowing
