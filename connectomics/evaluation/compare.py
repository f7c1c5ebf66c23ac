"""Compare a segmentation with truth, block by block: label volume or skeletons."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from connectomics.blockwise.grid import Block, Box, Grid
from connectomics.blockwise.pool import Pool, Threads
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import map_blocks
from connectomics.errors import GeometryError, InputError
from connectomics.evaluation.contingency import Contingency, count_contingency, merge_contingencies
from connectomics.evaluation.sampling import labels_at_nodes
from connectomics.evaluation.scores import json_ready
from connectomics.evaluation.skeleton_errors import skeleton_errors
from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.evaluation.volumes import VoiTable
from connectomics.io.skeletons import Skeletons
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple, Roi, on_grid

BLOCK: IntTriple = (128, 256, 256)
"""Voxels (zyx) that are in memory at once: 8 Mvoxel, 128 MB for two volumes of 64-bit labels."""

_NOTHING = "nothing is left to compare."


def evaluate(
    segmentation: Volume,
    truth: Volume | Skeletons,
    *,
    mask: Volume | None = None,
    roi: Roi | None = None,
    worst: int = 0,
    progress: Progress | None = None,
    pool: Pool | None = None,
) -> dict[str, Any]:
    """Score a segmentation where it, the truth and the mask overlap.

    Parameters
    ----------
    segmentation
        Labels (z, y, x), any integer dtype, 0 = background.
    truth
        Labels on the same voxel grid (voxels with 0 are left out), or skeletons (nodes outside the region
        are dropped, with their edges).
    mask
        Only where it is non-zero is compared.
    roi
        Compare this part only, nm; it must lie inside all the inputs.
    worst
        Also list, under ``worst``, this many of the objects or places that lose most.
    progress
        Told of the blocks compared.
    pool
        Where label volumes are compared; one thread of this process by default.

    Returns
    -------
    dict
        Ready for JSON (NaN is None). Label truth: see `volumes.VoiTable.scores`; skeletons: see
        `skeletons.skeleton_scores`.

    Raises
    ------
    GeometryError
        The inputs do not share a voxel grid, or no voxel.
    InputError
        An input is not a label volume, or nothing of the truth lies in the region and under the mask.
    """
    volumes = [segmentation] + ([truth] if isinstance(truth, Volume) else [])
    for volume in volumes:
        _check_labels(volume)
    others = volumes[1:] + ([mask] if mask is not None else [])
    region = common_region(segmentation, others, roi)
    if isinstance(truth, Volume):
        counted = _Counted(segmentation.crop(region), [v.crop(region) for v in others])
        table, grid = VoiTable(), Grid(counted.segmentation.shape, BLOCK)
        for contingency in map_blocks("evaluate", grid, counted, pool or Threads(1), progress):
            table.add_contingency(contingency)
        if not table.contingency.voxels:
            raise InputError(_nothing_labelled(*counted.others))
        losses = [loss.as_dict() for loss in table.worst(worst)]
        return dict(json_ready(table.scores() | ({"worst": losses} if worst else {})))
    truth.doubt_unit(segmentation.voxel_size)
    inside = truth.crop(region)
    if not len(inside):
        raise InputError(_nothing_inside(truth, region))
    return _with_skeletons(segmentation.crop(region), inside, mask, worst)


def common_region(reference: Volume, others: list[Volume], roi: Roi | None = None) -> Roi:
    """The box that all volumes share (or `roi`, which must lie in it), on their one voxel grid.

    Raises
    ------
    GeometryError
        Voxel sizes or grids differ, nothing is shared, or `roi` reaches outside.
    """
    region = reference.roi
    for other in others:
        if not np.allclose(other.voxel_size, reference.voxel_size, rtol=1e-5, atol=0):
            raise GeometryError(
                f"{other.name} has voxels of {other.voxel_size} nm, {reference.name} of "
                f"{reference.voxel_size} nm (z y x). Take another level, or resample one."
            )
        on_grid(other.offset, reference.voxel_size, reference.offset, f"{other.name}: offset")
        region = region.intersect(other.roi)
    names = " and ".join([reference.name, *(other.name for other in others)])
    if region.empty:
        raise GeometryError(f"{names} share no voxel: they span {[v.roi for v in (reference, *others)]}.")
    if roi is not None and (roi.empty or not region.contains(roi)):
        raise GeometryError(
            f"the region from {roi.offset} to {roi.end} nm (z y x) does not lie inside what {names} share, "
            f"{region.offset} to {region.end} nm. Change --roi-offset or --roi-size."
        )
    return _snapped(region if roi is None else roi, reference)


def _snapped(region: Roi, reference: Volume) -> Roi:
    """The same box, exactly on the reference's voxels."""
    low, high = (
        on_grid(p, reference.voxel_size, reference.offset, "region") for p in (region.offset, region.end)
    )
    size, start = np.asarray(reference.voxel_size), np.asarray(reference.offset)
    return Roi.from_corners((start + size * low).tolist(), (start + size * high).tolist())


@dataclass(frozen=True)
class _Counted:
    """Counts the voxels of a block; `others` are the truth and, where there is one, the mask."""

    segmentation: Volume
    others: list[Volume]

    def __call__(self, block: Block) -> Contingency:
        truth, *mask = (volume.read_box(block.box) for volume in self.others)
        if not truth.any():
            return merge_contingencies([])
        found = self.segmentation.read_box(block.box)
        return count_contingency(found, truth, any_channel(mask[0]) if mask else None)


def _nothing_labelled(truth: Volume, mask: Volume | None = None) -> str:
    """Why no voxel of the region counted."""
    where = f"from {truth.roi.offset} to {truth.roi.end} nm (z y x)"
    if mask is not None:
        if not any(mask.read_box(block.box).any() for block in Grid(mask.shape, BLOCK)):
            return f"{mask.name}: the mask is 0 everywhere {where}: {_NOTHING}"
        where += f", where the mask {mask.name} is not 0"
    return f"{truth.name}: the truth has no label but 0, which is left out, {where}: {_NOTHING}"


def _nothing_inside(truth: Skeletons, region: Roi) -> str:
    """Why no node of the region counted."""
    if not len(truth):
        return f"the skeletons hold no node: {_NOTHING}"
    low, high = truth.nodes.min(axis=0).tolist(), truth.nodes.max(axis=0).tolist()
    return (
        f"no skeleton node lies in the region compared, {region.offset} to {region.end} nm (z y x); the "
        f"skeletons span {low} to {high} nm: {_NOTHING} Check their units and the volume's offset."
    )


def _with_skeletons(
    segmentation: Volume, truth: Skeletons, mask: Volume | None, worst: int
) -> dict[str, Any]:
    if mask is not None:
        truth = _masked(truth, mask)
        if not len(truth):
            raise InputError(f"{mask.name}: the mask is 0 at every skeleton node of the region: {_NOTHING}")
    where = (segmentation.shape, segmentation.voxel_size, segmentation.offset)
    labels = labels_at_nodes(segmentation.read_box, *where, truth.nodes)
    scores: dict[str, Any] = dict(skeleton_scores(labels, truth))
    if worst:
        scores["worst"] = [error.as_dict() for error in skeleton_errors(labels, truth)[:worst]]
    return dict(json_ready(scores))


def _masked(skeletons: Skeletons, mask: Volume) -> Skeletons:
    """The nodes where the mask is non-zero, and the edges between them."""

    def read(box: Box) -> Any:
        return any_channel(mask.read_box(box))

    keep = labels_at_nodes(read, mask.shape, mask.voxel_size, mask.offset, skeletons.nodes) != 0
    renumbered = np.cumsum(keep) - 1
    edges = renumbered[skeletons.edges[keep[skeletons.edges].all(axis=1)]]
    return Skeletons(skeletons.nodes[keep], edges, skeletons.ids[keep], skeletons.radii[keep])


def any_channel(mask: Any) -> Any:
    """Where a mask, of one channel or several, is non-zero in any of them."""
    return (mask != 0).any(axis=0) if mask.ndim == 4 else mask != 0


def _check_labels(volume: Volume) -> None:
    if volume.channels is not None:
        raise InputError(
            f"{volume.name}: expected labels (z, y, x), got {volume.channels} channels; choose one."
        )
    if volume.dtype.kind not in "uib":
        raise InputError(
            f"{volume.name}: expected integer labels, got {volume.dtype}; is it a raw volume? "
            "(Images are compared with --image.)"
        )
