"""Training volumes: read once, with region and background applied, and held on the device."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from connectomics.errors import GeometryError, InputError
from connectomics.roi import Triple
from connectomics.training.settings import DataSettings, Modality, PhantomData, Range, VolumeData

UNLABELLED = -1
"""Label of a voxel that no loss and no score looks at."""

MAX_OBJECTS = 2**24
"""Labels pass through float32 when they are resampled; beyond this they would not be exact."""


@dataclass(frozen=True)
class Source:
    """One volume to draw crops from.

    Attributes
    ----------
    raw : tensor
        (z, y, x) uint8 or float32.
    labels : tensor
        (z, y, x) int32: objects 1..n, 0 = background, -1 = unlabelled.
    proportion : float
        How often crops come from here, relative to the other sources.
    mean, std : float
        Of the raw values: (raw - mean) / std is what the network sees.
    score : tuple of slice
        The part that is scored when validating.
    """

    raw: torch.Tensor
    labels: torch.Tensor
    proportion: float
    mean: float
    std: float
    score: tuple[slice, ...] = (slice(None),) * 3

    def to(self, device: torch.device) -> "Source":
        """The same source on a device."""
        return Source(
            self.raw.to(device), self.labels.to(device), self.proportion, self.mean, self.std, self.score
        )


def load_volumes(settings: DataSettings, volumes: Sequence[VolumeData]) -> list[Source]:
    """Read labelled volumes, only inside their regions.

    Raises
    ------
    InputError
        A volume is missing, or raw and labels do not have one shape.
    """
    return [_load(settings, volume) for volume in volumes]


def _load(settings: DataSettings, volume: VolumeData) -> Source:
    root = Path(settings.root)
    raw = _read(root / volume.raw, settings.voxel_size, volume.region)
    labels = _read(root / volume.labels, settings.voxel_size, volume.region)
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
    return make_source(raw, labels, volume.background == "unlabelled", volume.proportion, score)


def _read(path: Path, voxel_size: Triple, region: tuple[Range, Range, Range] | None) -> NDArray[np.generic]:
    from connectomics.io.opening import open_volume

    volume = open_volume(path, voxel_size)
    shape = volume.shape
    box = [(0, n) for n in shape] if region is None else list(region)
    if any(low < 0 or high > n or low >= high for (low, high), n in zip(box, shape, strict=True)):
        raise GeometryError(f"{path}: region {region} is not inside shape {shape}.")
    z, y, x = (slice(low, high) for low, high in box)
    return np.asarray(volume.read_box((z, y, x)))


def make_source(
    raw: NDArray[np.generic],
    labels: NDArray[np.generic],
    zero_is_unlabelled: bool,
    proportion: float = 1.0,
    score: tuple[slice, ...] = (slice(None),) * 3,
) -> Source:
    """A source from arrays (z, y, x); labels become 1..n, background 0 or -1.

    Raises
    ------
    InputError
        The image is constant, or there are no objects or too many.
    """
    ids, dense = np.unique(labels, return_inverse=True)
    order = np.cumsum(ids != 0)
    order[ids == 0] = UNLABELLED if zero_is_unlabelled else 0
    if not 0 < order.max(initial=0) < MAX_OBJECTS:
        raise InputError(f"labels: need 1 to {MAX_OBJECTS - 1} objects, got {order.max(initial=0)}.")
    image = raw if raw.dtype == np.uint8 else raw.astype(np.float32)
    std = float(image.std(dtype=np.float64))
    if not np.isfinite(std) or std == 0:
        raise InputError("raw: the image is constant or holds NaN; nothing can be learnt from it.")
    return Source(
        torch.from_numpy(np.ascontiguousarray(image)),
        torch.from_numpy(order[dense].reshape(labels.shape).astype(np.int32)),
        proportion,
        float(image.mean(dtype=np.float64)),
        std,
        score,
    )


def load_phantoms(settings: DataSettings, phantoms: Sequence[PhantomData], cache: Path) -> list[Source]:
    """Make phantoms, several at once, or take them from an earlier run's cache folder."""
    jobs = [
        (seed, group.difficulties[i % len(group.difficulties)], group.shape, group.proportion / group.count)
        for group in phantoms
        for i, seed in enumerate(range(group.first_seed, group.first_seed + group.count))
    ]
    if not jobs:
        return []
    cache.mkdir(parents=True, exist_ok=True)
    size, modality = settings.voxel_size[0], settings.modality
    calls = [(cache, seed, difficulty, shape, size, modality) for seed, difficulty, shape, _ in jobs]
    missing = [call for call in calls if not _cached(*call).exists()]
    workers = min(len(missing), cpu_count() or 1)
    if workers > 1:
        _make_phantom(*missing[0])  # compiles once, for all
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(_make_phantom, *zip(*missing[1:], strict=True)))
    elif missing:
        _make_phantom(*missing[0])
    sources = []
    for call, job in zip(calls, jobs, strict=True):
        with np.load(_cached(*call), allow_pickle=False) as data:
            sources.append(make_source(data["raw"], data["labels"], False, job[3]))
    return sources


def _cached(
    cache: Path, seed: int, difficulty: str, shape: Sequence[int], voxel_size: float, modality: Modality
) -> Path:
    edges = "x".join(str(n) for n in shape)
    return cache / f"{modality}-{difficulty}-{seed}-{edges}-{voxel_size:g}nm.npz"


def _make_phantom(
    cache: Path, seed: int, difficulty: str, shape: Sequence[int], voxel_size: float, modality: Modality
) -> None:
    from connectomics.phantom.phantom import Phantom
    from connectomics.phantom.settings import PhantomSettings

    values = {"seed": seed, "voxel_size": voxel_size, "difficulty": difficulty}
    phantom = Phantom(PhantomSettings.parse(values))
    z, y, x = (slice(0, n) for n in shape)
    raw = phantom.xray((z, y, x)) if modality == "xray" else phantom.em((z, y, x))
    path = _cached(cache, seed, difficulty, shape, voxel_size, modality)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, raw=raw, labels=phantom.labels((z, y, x)))
    partial.replace(path)
