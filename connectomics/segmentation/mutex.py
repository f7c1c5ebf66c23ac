"""Mutex-watershed fragments: long-range affinities keep apart what nearest neighbours would join.

The mutex watershed is global: the strongest edges anywhere decide first, so a block with a halo does not
see all that decided a voxel, and two blocks may disagree. **Seams are therefore not exact.** Each block
votes for the partners of its fragments across its faces, and `stitching.mutual_best` keeps the links that
both sides want most; a fragment that a neighbour cut into several parts is linked to one of them only, and
a boundary may move at a seam. Agglomeration can mend such a cut; what was merged within a
block stays merged.
"""

from collections.abc import Sequence

import numpy as np
from bioimage_cpp.segmentation import mutex_watershed
from numpy.typing import NDArray

from connectomics.affinities import parse_offsets
from connectomics.errors import InputError
from connectomics.roi import IntTriple
from connectomics.segmentation.block_fragments import BlockFragments, Box, check_block
from connectomics.segmentation.conventions import mutex_affinities
from connectomics.segmentation.heights import inside_mask
from connectomics.segmentation.settings import SegmentationSettings

MUTEX_HALO = 16
"""Voxels around a write block: more of them let neighbours agree more often, none makes them always agree."""


def mutex_fragments(
    affinities: NDArray[np.uint8],
    offsets: Sequence[Sequence[int]],
    box_in_array: Box,
    corner: IntTriple,
    volume_shape: IntTriple,
    settings: SegmentationSettings,
) -> BlockFragments:
    """Fragments of one write block by mutex watershed (doi:10.1109/TPAMI.2020.2980827); seams are not exact.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, nearest neighbours first, then long range, with a halo of at least `MUTEX_HALO`
        voxels (cut at the volume's faces).
    offsets
        One zyx offset per channel.
    box_in_array
        The write block as slices of the array.
    corner
        Voxel of the whole volume at which the array starts.
    volume_shape
        zyx voxels of the whole volume.
    settings
        Of these, `boundary_threshold` (voxels whose mean nearest-neighbour affinity is not above it are
        background) and `mutex_strides` (on a lattice of the whole volume).

    Returns
    -------
    BlockFragments
        With votes: a link for each voxel just outside the block that carries the label of one of its
        fragments.

    Raises
    ------
    InputError
        There is no long-range channel, or channels and offsets do not match.
    GeometryError
        The halo is too small, or the array does not fit the volume.
    """
    check_block(affinities, box_in_array, corner, volume_shape, MUTEX_HALO)
    parsed = parse_offsets(offsets)
    if len(parsed) < 4 or len(parsed) != len(affinities):
        raise InputError(
            f"mutex watershed: needs an offset per channel, some of long range, got {len(affinities)} "
            f"channels and {len(parsed)} offsets; use fragments 'watershed', or another model."
        )
    mutex = _mutex_labels(affinities, parsed, corner, settings)
    labels, first = _in_order(mutex[box_in_array])
    voxels = (
        np.stack(np.unravel_index(first, labels.shape), axis=1) + [s.start for s in box_in_array] + corner
    )
    keys = np.ravel_multi_index(tuple(voxels.T), volume_shape) + 1
    link_labels, link_voxels = _votes(mutex, mutex[box_in_array].ravel()[first], box_in_array, corner)
    sizes = np.bincount(labels.ravel(), minlength=len(first) + 1)[1:]
    return BlockFragments(labels, keys.astype(np.uint64), link_labels, link_voxels, sizes, votes=True)


def _mutex_labels(
    affinities: NDArray[np.uint8],
    offsets: Sequence[IntTriple],
    corner: IntTriple,
    settings: SegmentationSettings,
) -> NDArray[np.uint64]:
    """Mutex labels of the array, 0 = background; strides start at the lattice of the whole volume."""
    at_face = np.array([c == 0 for c in corner])
    mask = inside_mask(affinities, settings.boundary_threshold * 255, at_face)
    strides = settings.mutex_strides
    start = tuple(slice(-c % stride, None) for c, stride in zip(corner, strides, strict=True))
    labels = np.zeros(mask.shape, np.uint64)
    labels[start] = mutex_watershed(
        mutex_affinities(affinities[(slice(None), *start)]), offsets, 3, strides=strides, mask=mask[start]
    )
    return labels


def _in_order(labels: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Labels 1..n in order of first appearance, and where (linear) each appears first."""
    values, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    known = values != 0
    order = np.argsort(first[known])
    new = np.zeros(len(values), np.uint32)
    new[np.flatnonzero(known)[order]] = np.arange(1, len(order) + 1)
    return new[inverse].reshape(labels.shape), first[known][order]


def _votes(
    mutex: NDArray[np.uint64], names: NDArray[np.uint64], box: Box, corner: IntTriple
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Local fragments (named `names` in `mutex`) that go on in the layer just outside the block's six
    faces."""
    order = np.argsort(names)
    all_labels: list[NDArray[np.uint32]] = [np.zeros(0, np.uint32)]
    all_voxels: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
    for axis in range(3):
        for plane in (box[axis].start - 1, box[axis].stop):
            if not 0 <= plane < mutex.shape[axis] or not len(names):
                continue
            layer = tuple(slice(plane, plane + 1) if a == axis else box[a] for a in range(3))
            found = mutex[layer]
            place = np.minimum(np.searchsorted(names, found, sorter=order), len(names) - 1)
            ours = (names[order[place]] == found) & (found != 0)
            all_labels.append((order[place][ours] + 1).astype(np.uint32))
            all_voxels.append(np.argwhere(ours) + [s.start for s in layer] + np.array(corner))
    return np.concatenate(all_labels), np.concatenate(all_voxels)
