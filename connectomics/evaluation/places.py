"""Where objects lose most: a place for each of the losses that a comparison of label volumes lists."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from connectomics.blockwise.grid import Grid
from connectomics.evaluation.compare import BLOCK, common_region
from connectomics.io.volume import Volume
from connectomics.roi import Roi, Triple, triple

ENOUGH = 4000
"""Voxels of each side that are looked at for the place where they come nearest."""


def places_of_losses(
    losses: Sequence[Mapping[str, Any]], segmentation: Volume, truth: Volume, roi: Roi | None = None
) -> list[Triple | None]:
    """For each loss, where its two largest parts come nearest in the first block that holds both.

    Parameters
    ----------
    losses
        As listed under ``worst``: see `connectomics.evaluation.volumes.VoiLoss.as_dict`.
    segmentation, truth
        The label volumes that were compared, on one voxel grid.
    roi
        The part that was compared; default: all they share.

    Returns
    -------
    list
        nm, zyx; of a loss whose parts lie in no common block, a voxel of the smaller one; None where neither
        was found (the background has lost it).
    """
    region = common_region(segmentation, [truth], roi)
    found, true = segmentation.crop(region), truth.crop(region)
    places: list[Triple | None] = [None] * len(losses)
    second: list[Triple | None] = [None] * len(losses)
    for block in Grid(found.shape, BLOCK):
        missing = [i for i, place in enumerate(places) if place is None]
        if not missing:
            break
        segments, objects = found.read_box(block.box), true.read_box(block.box)
        present = set(np.unique(segments).tolist()), set(np.unique(objects).tolist())
        low = np.array([s.start for s in block.box])
        for i in missing:
            places[i], spare = _in_block(losses[i], segments, objects, present, low, found)
            second[i] = second[i] or spare
    return [place or spare for place, spare in zip(places, second, strict=True)]


def _in_block(
    loss: Mapping[str, Any],
    segments: NDArray[Any],
    objects: NDArray[Any],
    present: tuple[set[int], set[int]],
    low: NDArray[np.int64],
    volume: Volume,
) -> tuple[Triple | None, Triple | None]:
    """Where the two largest parts come nearest, and any voxel of the second."""
    split = loss["kind"] == "split"
    whole, parts = (objects, segments) if split else (segments, objects)
    names = [int(part["id"]) for part in loss["parts"]]
    there = present[0] if split else present[1]
    if int(loss["label"]) not in (present[1] if split else present[0]) or len(names) < 2:
        return None, None
    if names[1] not in there:
        return None, None
    mine = whole == loss["label"]
    small = np.argwhere(mine & (parts == names[1]))
    if not len(small):
        return None, None
    large = np.argwhere(mine & (parts == names[0]))
    spare = _world(small[len(small) // 2] + low, volume)
    if not len(large):
        return None, spare
    small, large = _some(small), _some(large)
    distance, nearest = cKDTree(large).query(small)
    at = int(np.argmin(distance))
    return _world((small[at] + large[nearest[at]]) / 2 + low, volume), spare


def _some(voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    return voxels[:: max(1, len(voxels) // ENOUGH)]


def _world(voxel: NDArray[Any], volume: Volume) -> Triple:
    """World position of the centre of a voxel."""
    return triple((np.asarray(volume.offset) + (voxel + 0.5) * np.asarray(volume.voxel_size)).tolist())
