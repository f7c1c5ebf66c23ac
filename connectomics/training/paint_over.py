"""Painted voxels laid over what skeletons gave, in one numbering of the axons."""

import numpy as np
from numpy.typing import NDArray

from connectomics.training.sources import UNLABELLED, Labels, label_type

_ASTRAY = 0.1
"""Share of a skeleton's painted voxels in other objects than its own, from which on it is in doubt."""


def paint_over(traced: Labels, painted: Labels, traces: Labels) -> Labels:
    """Painted labels where anything is painted, those of the skeletons elsewhere.

    A painted object takes the number of the skeleton that runs through it, so that an axon is one object on
    both sides of the paint's face. A skeleton at odds with the paint (in several objects, or the second one
    in an object) is in doubt: what it gave is unknown here.

    Parameters
    ----------
    traced
        (z, y, x) made of the skeletons: 1..n as the traces are numbered, 0 = background, -1 = unknown.
    painted
        (z, y, x): objects from 1, 0 = background, -1 = not painted.
    traces
        (z, y, x) from `draw_traces`.

    Returns
    -------
    ndarray of int16 or int32, (z, y, x)
        1..n as the traces are numbered, above n the painted objects without a skeleton.
    """
    skeletons = max(int(traces.max(initial=0)), int(traced.max(initial=0)))
    objects = int(painted.max(initial=0))
    owner, doubted = _owners(traces, painted, objects, skeletons)
    nameless = owner == 0
    nameless[0] = False
    owner[nameless] = skeletons + 1 + np.arange(int(nameless.sum()))
    kind = label_type(int(owner.max()))
    kept = np.arange(skeletons + 1, dtype=kind)
    kept[doubted] = UNLABELLED
    known = painted >= 0
    result: Labels = np.where(traced < 0, kind(UNLABELLED), kept[traced])
    result[known] = owner.astype(kind)[painted[known]]
    return result


def _owners(
    traces: Labels, painted: Labels, objects: int, skeletons: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The skeleton of each painted object (0 = none), and which skeletons the paint contradicts."""
    owner, doubted = np.zeros(objects + 1, np.int64), np.zeros(skeletons + 1, bool)
    both = (traces > 0) & (painted > 0)
    pairs, often = np.unique(np.stack((traces[both], painted[both])), axis=1, return_counts=True)
    total = np.bincount(pairs[0], often, skeletons + 1)
    for place in np.argsort(-often, kind="stable"):
        skeleton, painted_object = pairs[:, place]
        mostly = often[place] > (1 - _ASTRAY) * total[skeleton]
        if mostly and not owner[painted_object]:
            owner[painted_object] = skeleton
        elif often[place] >= _ASTRAY * total[skeleton]:
            doubted[skeleton] = True
    return owner, doubted
