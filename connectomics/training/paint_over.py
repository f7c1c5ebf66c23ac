"""Painted voxels laid over what skeletons gave, in one numbering of the axons."""

import numpy as np
from numpy.typing import NDArray

from connectomics.training.sources import UNLABELLED, Labels, label_type

_ASTRAY = 0.1
"""Share of a skeleton's voxels in painted objects that lie in others than its own, from which on it is in
doubt."""

_APART = 16
"""Voxels from a painted object without a skeleton in which tubes are unknown: one of them may be the object's
own, its skeleton just outside the paint. More than the affinities' offsets."""


def paint_over(traced: Labels, painted: Labels, traces: Labels) -> Labels:
    """Painted labels where anything is painted, those of the skeletons elsewhere.

    A painted object takes the number of the skeleton that runs through it, so that an axon is one object on
    both sides of the paint's face. A skeleton at odds with the paint (in several objects, the second one in
    an object, mostly in background) is in doubt: what it gave is unknown here. So is what others gave near
    a painted object that no skeleton runs through.

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
    from scipy import ndimage

    skeletons = max(int(traces.max(initial=0)), int(traced.max(initial=0)))
    owner, doubted = _owners(traces, painted, int(painted.max(initial=0)), skeletons)
    nameless = owner == 0
    nameless[0] = False
    owner[nameless] = skeletons + 1 + np.arange(int(nameless.sum()))
    kind = label_type(max(skeletons, int(owner.max())))
    kept = np.arange(skeletons + 1, dtype=kind)
    kept[doubted] = UNLABELLED
    numbers = owner.astype(kind)
    near = np.zeros(painted.shape, bool)
    result: Labels = np.empty(painted.shape, kind)
    for z in range(len(result)):  # by sections: indexing takes 8 bytes a voxel
        near[z] = (painted[z] > 0) & nameless[painted[z]]
        around = np.where(traced[z] < 0, kind(UNLABELLED), kept[traced[z]])
        result[z] = np.where(painted[z] >= 0, numbers[painted[z]], around)
    if near.any():
        near = ndimage.maximum_filter(near, 2 * _APART + 1)
        result[near & (painted < 0) & (traced > 0)] = UNLABELLED
    return result


def _owners(
    traces: Labels, painted: Labels, objects: int, skeletons: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The skeleton of each painted object (0 = none), and which skeletons the paint contradicts."""
    owner, doubted = np.zeros(objects + 1, np.int64), np.zeros(skeletons + 1, bool)
    both = (traces > 0) & (painted >= 0)
    pairs, often = np.unique(np.stack((traces[both], painted[both])), axis=1, return_counts=True)
    there = pairs[1] > 0
    total = np.bincount(pairs[0], often, skeletons + 1)
    in_objects = np.bincount(pairs[0][there], often[there], skeletons + 1)
    doubted[in_objects < 0.5 * total] = True
    for place in np.argsort(-often, kind="stable"):
        skeleton, painted_object = pairs[:, place]
        if not painted_object or doubted[skeleton]:
            continue
        mostly = often[place] > (1 - _ASTRAY) * in_objects[skeleton]
        if mostly and not owner[painted_object]:
            owner[painted_object] = skeleton
        elif often[place] >= _ASTRAY * in_objects[skeleton]:
            doubted[skeleton] = True
    return owner, doubted
