"""Fragments as connected components of strong affinities: the same partition whatever the blocks."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.roi import IntTriple
from connectomics.segmentation.block_fragments import BlockFragments, Box, check_block
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.union_find import find_root

COMPONENTS_HALO = 1
"""Voxels around a write block: whether a voxel is joined to anything shows in its upper neighbours'
affinities too."""


def components_fragments(
    affinities: NDArray[np.uint8],
    box_in_array: Box,
    corner: IntTriple,
    volume_shape: IntTriple,
    settings: SegmentationSettings,
) -> BlockFragments:
    """Fragments of one write block: neighbours are joined where their affinity is above `boundary_threshold`.

    A voxel that is joined to none of its six neighbours is background. Links lead through the block's lower
    faces; with them, fragments and their numbers are exactly those of the whole volume.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, nearest neighbours first, with a halo of at least `COMPONENTS_HALO` voxels (cut
        at the volume's faces).
    box_in_array
        The write block as slices of the array.
    corner
        Voxel of the whole volume at which the array starts.
    volume_shape
        zyx voxels of the whole volume.
    settings
        Of these, only `boundary_threshold` is used.

    Raises
    ------
    GeometryError
        The halo is too small, or the array does not fit the volume.
    """
    check_block(affinities, box_in_array, corner, volume_shape, COMPONENTS_HALO)
    joined = affinities[:3] > int(
        settings.boundary_threshold * 255
    )  # an integer is above t if above floor(t)
    for axis in range(3):
        if corner[axis] == 0:  # no partner beyond the volume's lower face
            np.moveaxis(joined[axis], axis, 0)[0] = False
    box = np.array([[s.start for s in box_in_array], [s.stop for s in box_in_array]], np.int64)
    labels, parents, first = _scan(joined, box)
    labels, keep = _flatten(labels, parents)
    block_shape = labels.shape
    voxels = np.stack(np.unravel_index(first[keep], block_shape), axis=1) + box[0] + np.array(corner)
    keys = np.ravel_multi_index(tuple(voxels.T), volume_shape) + 1
    link_labels, link_voxels = _links(joined, labels, box, corner)
    sizes = np.bincount(labels.ravel(), minlength=len(keep) + 1)[1:]
    return BlockFragments(labels, keys.astype(np.uint64), link_labels, link_voxels, sizes)


@njit(cache=True, nogil=True, inline="always")
def _joined_above(joined, z, y, x):  # type: ignore[no-untyped-def]
    """True when an upper neighbour is joined to this voxel."""
    _, depth, height, width = joined.shape
    return (
        (z + 1 < depth and joined[0, z + 1, y, x])
        or (y + 1 < height and joined[1, z, y + 1, x])
        or (x + 1 < width and joined[2, z, y, x + 1])
    )


@njit(cache=True, nogil=True)
def _scan(joined, box):  # type: ignore[no-untyped-def]
    """Provisional labels of the block, their union-find parents (the smaller of a pair) and first voxels."""
    depth, height, width = box[1] - box[0]
    labels = np.zeros((depth, height, width), np.uint32)
    parents = np.zeros(1024, np.uint32)
    first = np.zeros(1024, np.int64)
    n = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                az, ay, ax = z + box[0, 0], y + box[0, 1], x + box[0, 2]
                label, outward = np.uint32(0), False
                for axis in range(3):
                    if not joined[axis, az, ay, ax]:
                        continue
                    bz, by, bx = z - (axis == 0), y - (axis == 1), x - (axis == 2)
                    if bz < 0 or by < 0 or bx < 0:
                        outward = True
                        continue
                    other = find_root(parents, labels[bz, by, bx])
                    if label != 0 and other != label:
                        parents[max(label, other)] = min(label, other)
                        other = min(label, other)
                    label = other
                if label == 0 and (outward or _joined_above(joined, az, ay, ax)):
                    n += 1
                    if n == parents.size:
                        parents = np.concatenate((parents, np.zeros_like(parents)))
                        first = np.concatenate((first, np.zeros_like(first)))
                    label = np.uint32(n)
                    parents[n], first[n] = n, (z * height + y) * width + x
                labels[z, y, x] = label
    return labels, parents[: n + 1], first[: n + 1]


@njit(cache=True, nogil=True)
def _flatten(labels, parents):  # type: ignore[no-untyped-def]
    """Labels 1..n in order of first appearance, and the provisional label of each."""
    final = np.zeros(parents.size, np.uint32)
    keep = np.zeros(parents.size, np.int64)
    n = 0
    for label in range(1, parents.size):
        if parents[label] == label:
            keep[n] = label
            n += 1
            final[label] = n
        else:
            final[label] = final[parents[label]]
    flat = labels.ravel()
    for k in range(flat.size):
        flat[k] = final[flat[k]]
    return labels, keep[:n]


def _links(
    joined: NDArray[np.bool_], labels: NDArray[np.uint32], box: NDArray[np.int64], corner: IntTriple
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Local fragments at the block's lower faces, and the voxels beyond that they are joined to."""
    all_labels: list[NDArray[np.uint32]] = []
    all_voxels: list[NDArray[np.int64]] = []
    inside = tuple(slice(low, high) for low, high in box.T)
    for axis in range(3):
        face: NDArray[Any] = np.moveaxis(joined[axis][inside], axis, 0)[0]
        here = np.argwhere(face)
        all_labels.append(np.moveaxis(labels, axis, 0)[0][face])
        voxels = np.insert(here, axis, -1, axis=1) + box[0] + np.array(corner)
        all_voxels.append(voxels.astype(np.int64))
    return np.concatenate(all_labels), np.concatenate(all_voxels)
