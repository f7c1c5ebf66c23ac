"""Phantoms to train on: made when a run starts, several at once, and kept beside it."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path

import numpy as np
import torch

from connectomics.phantom.settings import PhantomSettings
from connectomics.roi import Roi
from connectomics.training.settings import DataSettings, Modality, PhantomData, TruthSettings
from connectomics.training.sources import UNLABELLED, Source, make_source
from connectomics.training.truth import with_skeletons


def load_phantoms(
    settings: DataSettings, phantoms: Sequence[PhantomData], cache: Path, truth: TruthSettings
) -> list[Source]:
    """Make phantoms, several at once, or take them from an earlier run's cache folder."""
    jobs = [
        (group, seed, group.difficulties[i % len(group.difficulties)])
        for group in phantoms
        for i, seed in enumerate(range(group.first_seed, group.first_seed + group.count))
    ]
    if not jobs:
        return []
    cache.mkdir(parents=True, exist_ok=True)
    size, modality = settings.voxel_size[0], settings.modality
    calls = [(cache, seed, difficulty, group.shape, size, modality) for group, seed, difficulty in jobs]
    missing = [call for call in calls if not _cached(*call).exists()]
    workers = min(len(missing), cpu_count() or 1)
    if workers > 1:
        _make_phantom(*missing[0])  # compiles once, for all
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(_make_phantom, *zip(*missing[1:], strict=True)))
    elif missing:
        _make_phantom(*missing[0])
    return [
        source
        for call, (group, seed, difficulty) in zip(calls, jobs, strict=True)
        for source in _load(_cached(*call), group, _settings(seed, difficulty, size), truth)
    ]


def _load(path: Path, group: PhantomData, tissue: PhantomSettings, truth: TruthSettings) -> list[Source]:
    with np.load(path, allow_pickle=False) as data:
        source = make_source(data["raw"], data["labels"], False, group.proportion / group.count)
    if group.painted < 1:
        source = replace(source, labels=_central_cube(source.labels, group.painted))
    if not group.skeletons:
        return [source]
    from connectomics.phantom.phantom import Phantom

    size = tissue.voxel_size
    z, y, x = (n * size for n in group.shape)
    skeletons = Phantom(tissue).skeletons(Roi((0.0, 0.0, 0.0), (z, y, x)))
    return with_skeletons(source, skeletons, (0.0, 0.0, 0.0), (size, size, size), truth)


def _central_cube(labels: torch.Tensor, share: float) -> torch.Tensor:
    """Labels of a cube in the middle that holds `share` of the voxels; unlabelled outside it."""
    kept = torch.full_like(labels, UNLABELLED)
    edges = [round(n * share ** (1 / 3)) for n in labels.shape]
    box = tuple(slice((n - e) // 2, (n - e) // 2 + e) for n, e in zip(labels.shape, edges, strict=True))
    kept[box] = labels[box]
    return kept


def _settings(seed: int, difficulty: str, voxel_size: float) -> PhantomSettings:
    return PhantomSettings.parse({"seed": seed, "voxel_size": voxel_size, "difficulty": difficulty})


def _cached(
    cache: Path, seed: int, difficulty: str, shape: Sequence[int], voxel_size: float, modality: Modality
) -> Path:
    edges = "x".join(str(n) for n in shape)
    return cache / f"{modality}-{difficulty}-{seed}-{edges}-{voxel_size:g}nm.npz"


def _make_phantom(
    cache: Path, seed: int, difficulty: str, shape: Sequence[int], voxel_size: float, modality: Modality
) -> None:
    from connectomics.phantom.phantom import Phantom

    phantom = Phantom(_settings(seed, difficulty, voxel_size))
    z, y, x = (slice(0, n) for n in shape)
    raw = phantom.xray((z, y, x)) if modality == "xray" else phantom.em((z, y, x))
    path = _cached(cache, seed, difficulty, shape, voxel_size, modality)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, raw=raw, labels=phantom.labels((z, y, x)))
    partial.replace(path)
