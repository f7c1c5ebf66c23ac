"""A slab of each annotated crop to score with, where no whole crop was kept for it."""

from pathlib import Path

import numpy as np

from connectomics.io.opening import open_volume
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple, Triple
from connectomics.training.data_settings import VolumeData


def split_crop(volume: VolumeData, voxel_size: Triple, share: float) -> tuple[VolumeData, VolumeData | None]:
    """Keep the last sections (z) of a painted crop to score with; learn from the rest.

    Parameters
    ----------
    volume
        A crop with context, and labels that cover the crop; paths as they are opened.
    voxel_size
        nm, for files that state none.
    share
        Of the crop's sections.

    Returns
    -------
    fit, validation
        The same files, by regions that do not overlap in what is labelled; no second one where the crop has
        skeletons alone, or where either part would be without a painted voxel.
    """
    if volume.labels is None:
        return volume, None
    raw, painted = open_volume(volume.raw, voxel_size), open_volume(volume.labels, voxel_size)
    low, shape = _first(painted, raw), painted.shape
    kept = max(1, round(share * shape[0]))
    cut = low[0] + shape[0] - kept
    sections = np.flatnonzero(painted.read().any(axis=(1, 2))) + low[0]
    if kept >= shape[0] or not (sections < cut).any() or not (sections >= cut).any():
        return volume, None
    wide = [(0, n) for n in raw.shape]
    across = [(a, a + n) for a, n in zip(low[1:], shape[1:], strict=True)]
    fit = volume.model_copy(update={"region": ((0, cut), wide[1], wide[2])})
    scored = ((cut, cut + kept), across[0], across[1])
    validation = {"region": tuple(wide), "score_region": scored, "skeletons": None}
    return fit, volume.model_copy(update=validation)


def _first(painted: Volume, raw: Volume) -> IntTriple:
    """The image's voxel on which the first voxel of the labels lies."""
    apart = zip(painted.offset, raw.offset, raw.voxel_size, strict=True)
    z, y, x = (round((a - b) / v) for a, b, v in apart)
    return z, y, x


def fitted_shape(volume: VolumeData, voxel_size: Triple) -> IntTriple:
    """Voxels of the image that are learnt from, zyx."""
    if volume.region is None:
        return open_volume(volume.raw, voxel_size).shape
    z, y, x = (b - a for a, b in volume.region)
    return z, y, x


def describe(volume: VolumeData) -> str:
    """What of a crop is scored: its name, and the sections where not all."""
    name = Path(volume.raw).parent.stem
    return name if volume.score_region is None else f"{name}, its last {_thickness(volume)} sections"


def _thickness(volume: VolumeData) -> int:
    score = volume.score_region or ((0, 0),) * 3
    return score[0][1] - score[0][0]
