"""What one block tells the others about its fragments: labels, names and links."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import GeometryError
from connectomics.roi import IntTriple

Box = tuple[slice, slice, slice]

NO_KEY = 0
"""The key of a local fragment whose name is known only to another block, through a link."""


@dataclass(frozen=True)
class BlockFragments:
    """Fragments of one write block.

    Attributes
    ----------
    labels : (z, y, x) uint32
        Local fragment of each voxel of the write block, 1..n; 0 = background.
    keys : (n,) uint64
        1 + linear index, in the whole volume, of a voxel that names the fragment; `NO_KEY` where unknown
        here. Equal keys of two blocks mean one fragment.
    link_labels : (m,) uint32
        Local fragments that go on in another block.
    link_voxels : (m, 3) int64
        For each, a voxel (zyx, whole volume) outside this block that the local fragment is one with.
    sizes : (n,) int64
        Voxels of each local fragment in the write block.
    votes : bool
        False: every link holds. True: links are votes, to be filtered by `stitching.mutual_best`.
    """

    labels: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    link_labels: NDArray[np.uint32]
    link_voxels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    votes: bool = False

    @classmethod
    def none(cls, shape: IntTriple) -> "BlockFragments":
        """Those of a block in which there is nothing."""
        return cls(
            np.zeros(shape, np.uint32),
            np.zeros(0, np.uint64),
            np.zeros(0, np.uint32),
            np.zeros((0, 3), np.int64),
            np.zeros(0, np.int64),
        )


def check_block(
    affinities: NDArray[Any], box: Box, corner: IntTriple, volume_shape: IntTriple, halo: int
) -> None:
    """Raise GeometryError unless the array holds the write block and its halo, cut at the volume's faces.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, halo included.
    box
        The write block as slices of the array.
    corner
        Voxel of the whole volume at which the array starts.
    volume_shape
        zyx voxels of the whole volume.
    halo
        Voxels needed around the write block.
    """
    if affinities.ndim != 4 or affinities.shape[0] < 3 or affinities.dtype != np.uint8:
        raise GeometryError(
            f"affinities: expected uint8 (c, z, y, x) with at least three channels, got {affinities.dtype} "
            f"{affinities.shape}; scale probabilities by 255."
        )
    for axis in range(3):
        low, high = corner[axis], corner[axis] + affinities.shape[1 + axis]
        if low < 0 or high > volume_shape[axis]:
            raise GeometryError(f"block: {low}..{high} lies outside the volume of {volume_shape} voxels.")
        below, above = box[axis].start, affinities.shape[1 + axis] - box[axis].stop
        if (below < halo and low > 0) or (above < halo and high < volume_shape[axis]):
            raise GeometryError(
                f"block: needs a halo of {halo} voxels, got {below} below and {above} above along "
                f"axis {axis}; read a larger halo, or lower max_distance, grow or smoothing."
            )
