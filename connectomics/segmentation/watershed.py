"""Watershed fragments that are the same whatever the block size: local pointers plus a global union.

Every step that looks at neighbours looks at a bounded neighbourhood (distance clipped at `max_distance`, a
few smoothing passes, a pointer to the best of 27 voxels or of a ball), in integers with a total order
(height, then voxel index). So a voxel's pointer is the same in any block that holds its context, and a
fragment, all voxels whose pointers lead to one peak, is the same too. A path that leaves the known zone is
handed over to the next block as a link.
"""

import numpy as np
from numpy.typing import NDArray

from connectomics.roi import IntTriple
from connectomics.segmentation.block_fragments import NO_KEY, BlockFragments, Box, check_block
from connectomics.segmentation.heights import height_map
from connectomics.segmentation.pointers import climb
from connectomics.segmentation.settings import SegmentationSettings

FAR = 1 << 20
"""How far the exact zone goes on beyond a face of the volume, voxels."""


def context(settings: SegmentationSettings) -> int:
    """Voxels of affinities that the height of one voxel depends on."""
    return max(settings.max_distance + settings.smoothing, settings.grow)


def watershed_halo(settings: SegmentationSettings) -> int:
    """The smallest halo, voxels, with which every pointer of a write block is exact."""
    return context(settings) + 1 + int(settings.max_distance * settings.jump)


def watershed_fragments(
    affinities: NDArray[np.uint8],
    box_in_array: Box,
    corner: IntTriple,
    volume_shape: IntTriple,
    settings: SegmentationSettings,
) -> BlockFragments:
    """Fragments of one write block by watershed on the distance to boundaries.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, nearest neighbours first, with a halo of at least `watershed_halo` voxels (cut
        at the volume's faces). A larger halo resolves more paths here and leaves fewer links; the fragments
        are the same.
    box_in_array
        The write block as slices of the array.
    corner
        Voxel of the whole volume at which the array starts.
    volume_shape
        zyx voxels of the whole volume.
    settings
        See `SegmentationSettings`.

    Raises
    ------
    GeometryError
        The halo is too small, or the array does not fit the volume.

    Notes
    -----
    Peaks of the clipped distance map seed the fragments, as in flooding (doi:10.1016/0165-1684(94)90060-4)
    on a distance map; joining peaks within their own inscribed ball replaces the usual maximum over a window.
    """
    check_block(affinities, box_in_array, corner, volume_shape, watershed_halo(settings))
    heights, squared = height_map(affinities, corner, settings)
    zone = _zone(affinities.shape[1:], corner, volume_shape, context(settings))
    box = np.array([[s.start + 1 for s in box_in_array], [s.stop + 1 for s in box_in_array]], np.int64)
    labels, ends, resolved = climb(heights, squared, float(settings.jump), zone, box)
    voxels = np.stack(np.unravel_index(ends, heights.shape), axis=1).astype(np.int64)
    voxels += np.array(corner) - 1
    linear = np.ravel_multi_index(tuple(voxels.T), volume_shape)
    keys = np.where(resolved, linear + 1, NO_KEY).astype(np.uint64)
    open_ends = np.flatnonzero(~resolved)
    sizes = np.bincount(labels.ravel(), minlength=len(ends) + 1)[1:]
    return BlockFragments(labels, keys, (open_ends + 1).astype(np.uint32), voxels[open_ends], sizes)


def _zone(
    shape: tuple[int, ...], corner: IntTriple, volume_shape: IntTriple, margin: int
) -> NDArray[np.int64]:
    """Corners of the zone of the padded array in which heights are exact."""
    low = [1 + (margin if corner[a] > 0 else -FAR) for a in range(3)]
    high = [1 + shape[a] + (-margin if corner[a] + shape[a] < volume_shape[a] else FAR) for a in range(3)]
    return np.array([low, high], np.int64)
