"""Skeleton nodes in the region that XPRESS evaluates, and the label under each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.progress import Progress, Silent
from connectomics.errors import GeometryError, InputError
from connectomics.io.skeletons import Skeletons, connected_pieces
from connectomics.io.strided import cut_box, read_strided
from connectomics.io.volume import Box, Volume
from connectomics.roi import IntTriple, Roi, int_triple

_LARGEST_LABEL = 2**64 - 1


@dataclass(frozen=True, eq=False)
class NodesInRegion:
    """What of the skeletons lies in the evaluated region; n nodes in the file's order, m edges.

    Attributes
    ----------
    skeletons : Skeletons
        The nodes and edges inside.
    labels : ndarray of uint64, (n,)
        Label under each node, 0 = background.
    voxels : ndarray of int64, (n,)
        Voxel of each node, as one number.
    highest : int
        Largest label of the whole region.
    axon : ndarray of int64, (n,)
        Connected component of each node inside the region, numbered from 0 by first node.
    whole_axon : ndarray of int64, (n,)
        The same before the skeletons were cut to the region.
    """

    skeletons: Skeletons
    labels: NDArray[np.uint64]
    voxels: NDArray[np.int64]
    highest: int
    axon: NDArray[np.int64]
    whole_axon: NDArray[np.int64]

    @property
    def edges(self) -> NDArray[np.int64]:
        """Pairs of nodes, (m, 2)."""
        return self.skeletons.edges

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Length of each edge, nm, (m,), of positions rounded to float32 as the official scorer does."""
        ends = self.skeletons.nodes.astype(np.float32)[self.edges]
        return np.linalg.norm((ends[:, 0] - ends[:, 1]).astype(np.float64), axis=1)

    @property
    def overflows(self) -> bool:
        """True when labels for background nodes would not fit in 64 bits."""
        empty = int(np.unique(self.voxels[self.labels == 0]).size)
        return self.highest + empty > _LARGEST_LABEL

    def relabelled(self) -> "NodesInRegion":
        """The same with labels 1, 2, 3, ... in place of large ones."""
        names, number = np.unique(self.labels, return_inverse=True)
        first = 0 if names.size and names[0] == 0 else 1
        return replace(self, labels=number.astype(np.uint64) + np.uint64(first), highest=int(names.size))


def find_nodes(
    segmentation: Volume,
    skeletons: Skeletons,
    region: Roi,
    downsample: int = 1,
    progress: Progress | None = None,
) -> NodesInRegion:
    """Read the label under each node inside a region.

    Parameters
    ----------
    segmentation
        Whole labels (z, y, x), any dtype that holds them.
    skeletons
        The truth.
    region
        Evaluated region, whole nm, on the voxel grid and inside the segmentation.
    downsample
        Use every k-th voxel, the first included.
    progress
        Told of the blocks read.

    Raises
    ------
    GeometryError
        The region does not fit the segmentation.
    InputError
        Labels that are negative or no whole numbers, or no node in the region.
    """
    box, voxel, begin = _grid(segmentation, region, downsample)
    shape = [len(range(s.start, s.stop, downsample)) for s in box]
    end = [b + n * v for b, n, v in zip(begin, shape, voxel, strict=True)]
    places = np.trunc(skeletons.nodes).astype(np.int64)
    keep: NDArray[np.bool_] = np.all((places >= begin) & (places < end), axis=1)
    if not keep.any():
        raise InputError(_nothing_inside(skeletons, begin, end))
    index = (places[keep] - begin) // np.asarray(voxel)
    inside = skeletons.select(keep)
    labels, highest = _read(segmentation, box, downsample, index, progress or Silent())
    return NodesInRegion(
        skeletons=inside,
        labels=labels,
        voxels=np.ravel_multi_index(tuple(index.T), tuple(shape)).astype(np.int64),
        highest=highest,
        axon=connected_pieces(len(inside), inside.edges),
        whole_axon=_renumbered(connected_pieces(len(skeletons), skeletons.edges)[keep]),
    )


def _grid(segmentation: Volume, region: Roi, downsample: int) -> tuple[Box, IntTriple, IntTriple]:
    """The box to read, the voxel size after downsampling, and where its first voxel counts as being."""
    if not segmentation.roi.contains(region):
        raise GeometryError(
            f"{segmentation.name}: spans {segmentation.roi.offset} to {segmentation.roi.end} nm (z y x), "
            f"which does not contain the evaluated region {region.offset} to {region.end} nm. Check --split, "
            "the attributes 'offset' and 'resolution', and that the axes are in z y x order."
        )
    box = segmentation.slices(region)
    size = int_triple(segmentation.voxel_size, f"{segmentation.name}: voxel size (whole nm)")
    z, y, x = (v * downsample for v in size)
    begin = [int(o) // v * v for o, v in zip(region.offset, (z, y, x), strict=True)]
    if downsample == 1:
        begin = [int(o) for o in region.offset]
    return box, (z, y, x), int_triple(begin)


def _nothing_inside(skeletons: Skeletons, begin: Sequence[int], end: Sequence[int]) -> str:
    if not len(skeletons):
        return "the skeletons hold no node: there is nothing to score."
    low, high = skeletons.nodes.min(axis=0).tolist(), skeletons.nodes.max(axis=0).tolist()
    return (
        f"no skeleton node lies in the evaluated region {list(begin)} to {list(end)} nm (z y x): the nodes "
        f"span {low} to {high} nm, so there is nothing to score and the official scorer fails. Check "
        "--split, and that both files are of one volume and in nm."
    )


def _read(
    volume: Volume, box: Box, step: int, index: NDArray[np.int64], progress: Progress
) -> tuple[NDArray[np.uint64], int]:
    """Labels at indices of the strided region, and the largest label of it, block by block."""
    labels = np.zeros(len(index), np.uint64)
    highest = 0
    progress.start("read", len(cut_box(volume, box)), 0)
    for target, part in read_strided(volume, box, (step, step, step)):
        if part.size:
            whole = as_labels(part, volume.name)
            highest = max(highest, int(whole.max()))
            low, high = [s.start for s in target], [s.stop for s in target]
            members = np.flatnonzero(((index >= low) & (index < high)).all(axis=1))
            labels[members] = whole[tuple((index[members] - low).T)]
        progress.advance("read")
    progress.finish("read")
    return labels, highest


def as_labels(array: NDArray[Any], name: str) -> NDArray[np.uint64]:
    """Whole non-negative numbers of any type as uint64.

    Raises
    ------
    InputError
        There are negative or broken numbers, or numbers beyond 64 bits.
    """
    if array.dtype.kind in "ub":
        return array.astype(np.uint64, copy=False)
    if array.dtype.kind == "f" and not _whole(array):
        raise InputError(f"{name}: holds {array.dtype} values that are no labels (fractions, NaN, huge).")
    if array.size and array.min() < 0:
        raise InputError(f"{name}: holds the negative label {array.min()}; background is 0.")
    return array.astype(np.uint64)


def _whole(array: NDArray[Any]) -> bool:
    return bool(np.isfinite(array).all() and (array == np.trunc(array)).all() and (array < 2.0**64).all())


def _renumbered(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups numbered from 0 by their first member."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    rank: NDArray[np.int64] = np.argsort(np.argsort(first))
    return rank[inverse]
