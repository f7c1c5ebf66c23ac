"""Volumes of the user's to train on: read once, only inside their regions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import GeometryError
from connectomics.io.skeletons import read_skeletons
from connectomics.roi import Triple
from connectomics.training.settings import DataSettings, Range, TruthSettings, VolumeData
from connectomics.training.sources import Source, make_source
from connectomics.training.truth import with_skeletons


def load_volumes(settings: DataSettings, volumes: Sequence[VolumeData], truth: TruthSettings) -> list[Source]:
    """Read volumes with their labels and skeletons, only inside their regions.

    Raises
    ------
    InputError
        A volume is missing, or raw and labels do not have one shape.
    """
    return [source for volume in volumes for source in _load(settings, volume, truth)]


def _load(settings: DataSettings, volume: VolumeData, truth: TruthSettings) -> list[Source]:
    root = Path(settings.root)
    raw, offset = _read(root / volume.raw, settings.voxel_size, volume.region)
    labels = None
    if volume.labels is not None:
        labels, _ = _read(root / volume.labels, settings.voxel_size, volume.region)
        if raw.shape != labels.shape:
            raise GeometryError(f"{volume.raw}: shape {raw.shape}, but {volume.labels} has {labels.shape}.")
    score: tuple[slice, ...] = (slice(None),) * 3
    if volume.score_region is not None:
        starts = [0, 0, 0] if volume.region is None else [low for low, _ in volume.region]
        score = tuple(
            slice(low - start, high - start)
            for (low, high), start in zip(volume.score_region, starts, strict=True)
        )
        if any(s.start < 0 or s.stop > n or s.start >= s.stop for s, n in zip(score, raw.shape, strict=True)):
            raise GeometryError(f"score_region {volume.score_region} is not inside region {volume.region}.")
    source = make_source(raw, labels, volume.background == "unlabelled", volume.proportion, score)
    if volume.skeletons is None:
        return [source]
    return with_skeletons(source, read_skeletons(root / volume.skeletons), offset, settings.voxel_size, truth)


def _read(
    path: Path, voxel_size: Triple, region: tuple[Range, Range, Range] | None
) -> tuple[NDArray[np.generic], Triple]:
    """The voxels of a region, and the world position (nm) of its low corner."""
    from connectomics.io.opening import open_volume

    volume = open_volume(path, voxel_size)
    shape = volume.shape
    box = [(0, n) for n in shape] if region is None else list(region)
    if any(low < 0 or high > n or low >= high for (low, high), n in zip(box, shape, strict=True)):
        raise GeometryError(f"{path}: region {region} is not inside shape {shape}.")
    z, y, x = (slice(low, high) for low, high in box)
    low = [o + s * a for o, s, (a, _) in zip(volume.offset, volume.voxel_size, box, strict=True)]
    return np.asarray(volume.read_box((z, y, x))), (low[0], low[1], low[2])
