"""Volumes of the user's to train on: read once, only inside their regions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import GeometryError
from connectomics.io.opening import open_volume
from connectomics.io.skeletons import read_skeletons
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple
from connectomics.training.data_settings import DataSettings, VolumeData
from connectomics.training.settings import TruthSettings
from connectomics.training.sources import Source, make_source
from connectomics.training.truth import with_skeletons

SAME_SIZE = 0.01
"""Share by which stated voxel sizes may differ."""


def load_volumes(settings: DataSettings, volumes: Sequence[VolumeData], truth: TruthSettings) -> list[Source]:
    """Read volumes with their labels and skeletons, only inside their regions.

    Labels may cover a part of the image: their offset says which.

    Raises
    ------
    InputError
        A volume is missing.
    GeometryError
        A region or the labels lie outside the image, or labels and image do not share a voxel grid.
    """
    return [source for volume in volumes for source in _load(settings, volume, truth)]


def _load(settings: DataSettings, volume: VolumeData, truth: TruthSettings) -> list[Source]:
    root, size = Path(settings.root), settings.voxel_size
    image = open_volume(root / volume.raw, size)
    check_size(image, size, "the recipe's data.voxel_size")
    low, shape = _region(image, volume)
    raw = np.asarray(image.read_box(box_of(low, shape)))
    labels, place = None, (0, 0, 0)
    if volume.labels is not None:
        painted = open_volume(root / volume.labels, size)
        check_size(painted, image.voxel_size, f"the image {volume.raw}")
        labels, place = _read_labels(painted, _shift(painted, image, volume), low, shape)
    score = scored_part(volume.score_region, low, shape)
    source = make_source(raw, labels, volume.background == "unlabelled", volume.proportion, score, place)
    if volume.moments is not None:
        source = replace(source, mean=volume.moments[0], std=volume.moments[1])
    if volume.skeletons is None:
        return [source]
    z, y, x = (o + a * s for o, a, s in zip(image.offset, low, image.voxel_size, strict=True))
    traced = read_skeletons(root / volume.skeletons)
    traced.doubt_unit(image.voxel_size)
    return with_skeletons(source, traced, (z, y, x), image.voxel_size, truth)


def check_size(volume: Volume, expected: Sequence[float], by: str) -> None:
    """Refuse a volume whose file states other voxels than it is combined with, by `by`."""
    pairs = zip(volume.voxel_size, expected, strict=True)
    if any(abs(got / want - 1) > SAME_SIZE for got, want in pairs):
        raise GeometryError(
            f"{volume.name}: voxels of {volume.voxel_size} nm; by {by} they are {tuple(expected)}."
        )


def scored_part(
    score_region: tuple[tuple[int, int], ...] | None, low: IntTriple, shape: IntTriple
) -> tuple[slice, ...]:
    """The part of what is read (from voxel `low`, of `shape`) that is scored.

    Raises
    ------
    GeometryError
        It is not inside.
    """
    if score_region is None:
        return (slice(None),) * 3
    score = tuple(slice(a - start, b - start) for (a, b), start in zip(score_region, low, strict=True))
    if any(s.start < 0 or s.stop > n or s.start >= s.stop for s, n in zip(score, shape, strict=True)):
        region = tuple((a, a + n) for a, n in zip(low, shape, strict=True))
        raise GeometryError(f"score_region {score_region} is not inside region {region}.")
    return score


def _region(image: Volume, volume: VolumeData) -> tuple[IntTriple, IntTriple]:
    """First voxel and shape of what is read of the image."""
    region = volume.region or tuple((0, n) for n in image.shape)
    if any(a < 0 or b > n or a >= b for (a, b), n in zip(region, image.shape, strict=True)):
        raise GeometryError(f"{volume.raw}: region {volume.region} is not inside shape {image.shape}.")
    (z, zz), (y, yy), (x, xx) = region
    return (z, y, x), (zz - z, yy - y, xx - x)


def _shift(painted: Volume, image: Volume, volume: VolumeData) -> IntTriple:
    """The image's voxel on which the first voxel of the labels lies."""
    apart = (np.array(painted.offset) - np.array(image.offset)) / np.array(image.voxel_size)
    shift = np.round(apart).astype(int)
    if np.abs(apart - shift).max() > 1e-3:
        raise GeometryError(
            f"{volume.labels}: lies {apart.round(3).tolist()} voxels from {volume.raw}; "
            "both must be on one voxel grid."
        )
    if (shift < 0).any() or (shift + painted.shape > np.array(image.shape)).any():
        raise GeometryError(
            f"{volume.labels}: shape {painted.shape} at voxel {shift.tolist()} of {volume.raw} does not lie "
            f"inside its shape {image.shape}."
        )
    return int(shift[0]), int(shift[1]), int(shift[2])


def _read_labels(
    painted: Volume, shift: IntTriple, low: IntTriple, shape: IntTriple
) -> tuple[NDArray[np.generic], IntTriple]:
    """Labels on voxels that are read of the image, and which of those is their first."""
    first = [max(a, s) for a, s in zip(low, shift, strict=True)]
    last = [min(a + n, s + m) for a, n, s, m in zip(low, shape, shift, painted.shape, strict=True)]
    if any(a >= b for a, b in zip(first, last, strict=True)):
        return np.zeros((0, 0, 0), painted.dtype), (0, 0, 0)
    there = box_of([a - s for a, s in zip(first, shift, strict=True)],
                    [b - a for a, b in zip(first, last, strict=True)])  # fmt: skip
    z, y, x = (a - b for a, b in zip(first, low, strict=True))
    return painted.read_box(there), (z, y, x)


def box_of(low: Sequence[int], shape: Sequence[int]) -> tuple[slice, slice, slice]:
    """Slices (z, y, x) of a box from its first voxel and its shape."""
    z, y, x = (slice(a, a + n) for a, n in zip(low, shape, strict=True))
    return z, y, x
