"""Fragments of one block by the method that the settings name, and the halo that it needs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from connectomics.roi import IntTriple
from connectomics.segmentation.block_fragments import BlockFragments, Box
from connectomics.segmentation.components import COMPONENTS_HALO, components_fragments
from connectomics.segmentation.mutex import MUTEX_HALO, mutex_fragments
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.watershed import watershed_fragments, watershed_halo


def required_halo(settings: SegmentationSettings) -> int:
    """Voxels that a block must read beyond each of its faces."""
    if settings.fragments == "components":
        return COMPONENTS_HALO
    return MUTEX_HALO if settings.fragments == "mutex" else watershed_halo(settings)


def block_fragments(
    affinities: NDArray[np.uint8],
    offsets: Sequence[IntTriple],
    box_in_array: Box,
    corner: IntTriple,
    volume_shape: IntTriple,
    settings: SegmentationSettings,
) -> BlockFragments:
    """Fragments of one block.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8 with a halo of `required_halo` voxels, cut at the volume's faces.
    offsets
        The offset of each channel, nearest neighbours first.
    box_in_array
        The write block, as slices of the array.
    corner
        Voxel of the whole volume at which the array starts.
    volume_shape
        Voxels of the whole volume.
    settings
        Which method, and its knobs.
    """
    if settings.fragments == "components":
        return components_fragments(affinities, box_in_array, corner, volume_shape, settings)
    if settings.fragments == "mutex":
        return mutex_fragments(affinities, offsets, box_in_array, corner, volume_shape, settings)
    return watershed_fragments(affinities, box_in_array, corner, volume_shape, settings)
