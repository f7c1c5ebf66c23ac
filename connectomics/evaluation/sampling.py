"""Labels under points: only the blocks that hold points are read, one at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import GeometryError
from connectomics.evaluation.nodes_in_region import as_labels
from connectomics.roi import IntTriple, int_triple, triple

Box = tuple[slice, slice, slice]
Read = Callable[[Box], NDArray[Any]]

SAMPLING_BLOCK: IntTriple = (128, 128, 128)
"""Voxels (zyx) of the largest box that is read at once."""

_ROUNDING_NM = 1e-6


def voxels_of_nodes(
    nodes: NDArray[np.floating[Any]], voxel_size: Sequence[float], offset: Sequence[float]
) -> NDArray[np.int64]:
    """The voxel of each point: floor((point - offset) / voxel size), (n, 3) zyx."""
    size, low = triple(voxel_size, "voxel size"), triple(offset, "offset")
    voxels: NDArray[np.int64] = np.floor((np.asarray(nodes, np.float64) - low) / size).astype(np.int64)
    return voxels.reshape(-1, 3)


def labels_at_nodes(
    read_box: Read,
    shape: Sequence[int],
    voxel_size: Sequence[float],
    offset: Sequence[float],
    nodes: NDArray[np.floating[Any]],
    block: IntTriple = SAMPLING_BLOCK,
) -> NDArray[np.uint64]:
    """Read the label under each node.

    Parameters
    ----------
    read_box
        Returns the (z, y, x) labels of three slices, such as ``Volume.read_box``.
    shape
        Voxels of the volume, zyx.
    voxel_size, offset
        nm, zyx; `offset` is the low corner of voxel 0.
    nodes
        (n, 3) positions, nm, zyx, all inside the volume.
    block
        Largest box (voxels, zyx) read at once; blocks without nodes are not read.

    Returns
    -------
    ndarray of uint64, (n,)

    Raises
    ------
    GeometryError
        A node lies outside the volume.
    InputError
        A label is negative or broken.
    """
    shape = int_triple(shape, "shape")
    voxels = voxels_of_nodes(nodes, voxel_size, offset)
    # a node just below the high face may round up to it
    on_face = voxels_of_nodes(np.asarray(nodes) - _ROUNDING_NM, voxel_size, offset) < shape
    voxels = np.where(on_face, np.minimum(voxels, np.asarray(shape) - 1), voxels)
    outside = np.any((voxels < 0) | (voxels >= shape), axis=1)
    if outside.any():
        place = np.asarray(nodes)[np.argmax(outside)].tolist()
        raise GeometryError(
            f"{int(outside.sum())} skeleton nodes lie outside the volume, the first at {place} nm (z y x); "
            "crop the skeletons to the volume first."
        )
    labels = np.zeros(len(voxels), np.uint64)
    for members in _by_block(voxels, block):
        low, high = voxels[members].min(axis=0), voxels[members].max(axis=0) + 1
        z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        inside = voxels[members] - low
        labels[members] = as_labels(read_box((z, y, x))[tuple(inside.T)], "segmentation")
    return labels


def _by_block(voxels: NDArray[np.int64], block: IntTriple) -> list[NDArray[np.intp]]:
    """Node indices, block by block."""
    if not len(voxels):
        return []
    _, of_node = np.unique(voxels // np.asarray(block), axis=0, return_inverse=True)
    order = np.argsort(of_node, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(of_node[order])) + 1)
