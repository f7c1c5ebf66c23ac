"""Skeletons drawn into voxels: one voxel wide, each with the number of its axon."""

import numpy as np

from connectomics.io.skeletons import Skeletons
from connectomics.roi import IntTriple, Triple
from connectomics.training.sources import Labels, label_type

CONTESTED = -1
"""A voxel through which the skeletons of two axons pass: at least one of them is misplaced."""


def draw_traces(skeletons: Skeletons, offset: Triple, voxel_size: Triple, shape: IntTriple) -> Labels:
    """Draw skeletons into a box of voxels.

    Parameters
    ----------
    skeletons
        Nodes in nm, zyx; what lies outside the box is left out.
    offset
        World position (nm, zyx) of the low corner of the box's first voxel.
    voxel_size
        nm, zyx.
    shape
        Voxels, zyx.

    Returns
    -------
    ndarray of int16 or int32, shape
        1..n in the order of the axons' ids, 0 where no skeleton passes, -1 where two do.
    """
    _, axon = np.unique(skeletons.ids, return_inverse=True)
    ends = (skeletons.nodes - np.asarray(offset)) / np.asarray(voxel_size)
    first, last = ends[skeletons.edges[:, 0]], ends[skeletons.edges[:, 1]]
    steps = np.ceil(np.abs(last - first).max(axis=1, initial=0) * 2).astype(np.int64) + 1
    edge = np.repeat(np.arange(len(steps)), steps)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(steps) - steps, steps)
    share = (place / np.maximum(steps[edge] - 1, 1))[:, None]
    points = np.concatenate((ends, first[edge] * (1 - share) + last[edge] * share))
    numbers = np.concatenate((axon, axon[skeletons.edges[edge, 0]])) + 1
    voxels = np.floor(points).astype(np.int64)
    inside = ((voxels >= 0) & (voxels < np.asarray(shape))).all(axis=1)
    flat = np.ravel_multi_index(tuple(voxels[inside].T), shape)
    traces = np.zeros(shape, label_type(int(numbers.max(initial=0)))).ravel()
    traces[flat] = numbers[inside]
    np.put(traces, flat[traces[flat] != numbers[inside]], CONTESTED)
    return traces.reshape(shape)
