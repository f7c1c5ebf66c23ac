"""Phantoms to train on: made when a run starts, several at once, and kept beside it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from connectomics.errors import InputError
from connectomics.phantom.settings import PhantomSettings
from connectomics.roi import Roi
from connectomics.training.data_settings import DataSettings, Modality, PhantomData
from connectomics.training.settings import TruthSettings
from connectomics.training.sources import UNLABELLED, Source, make_source
from connectomics.training.truth import with_skeletons


def load_phantoms(
    settings: DataSettings, phantoms: Sequence[PhantomData], cache: Path, truth: TruthSettings
) -> list[Source]:
    """Make phantoms, several at once, or take them from an earlier run's cache folder.

    Raises
    ------
    InputError
        Their voxels would not be cubes.
    """
    if phantoms and len(set(settings.voxel_size)) > 1:
        raise InputError(
            f"data.phantoms: voxels of phantoms are cubes, but data.voxel_size is {settings.voxel_size}. "
            "Give one edge, such as [33, 33, 33], or volumes instead."
        )
    jobs = seeds_of(phantoms)
    size, modality = settings.voxel_size[0], settings.modality
    calls = [
        (
            cache,
            tissue_settings(seed, difficulty, size / 2**group.level, group.density),
            group.shape,
            modality,
            group.level,
        )
        for group, seed, difficulty in jobs
    ]
    make_missing(_make_phantom, _cached, calls)
    return [
        source
        for call, (group, _, _) in zip(calls, jobs, strict=True)
        for source in _load(_cached(*call), group, call[1], truth)
    ]


def seeds_of(phantoms: Sequence[PhantomData]) -> list[tuple[PhantomData, int, str]]:
    """Every phantom of these groups: its group, seed and difficulty."""
    return [
        (group, seed, group.difficulties[i % len(group.difficulties)])
        for group in phantoms
        for i, seed in enumerate(range(group.first_seed, group.first_seed + group.count))
    ]


def make_missing(
    make: Callable[..., None], path: Callable[..., Path], calls: Sequence[tuple[Any, ...]]
) -> None:
    """Call `make` with the arguments of each file that does not exist at `path` of them, several at once."""
    missing = [call for call in dict.fromkeys(calls) if not path(*call).exists()]
    if not missing:
        return
    path(*missing[0]).parent.mkdir(parents=True, exist_ok=True)
    make(*missing[0])  # compiles once, for all
    workers = min(len(missing) - 1, cpu_count() or 1)
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(make, *zip(*missing[1:], strict=True)))
    elif workers:
        make(*missing[1])


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


def tissue_settings(seed: int, difficulty: str, voxel_size: float, density: float = 1.0) -> PhantomSettings:
    """Settings of a phantom; at density 1 the tissue depends on seed and difficulty alone."""
    return PhantomSettings.parse(
        {"seed": seed, "voxel_size": voxel_size, "difficulty": difficulty, "density": density}
    )


def _cached(
    cache: Path, tissue: PhantomSettings, shape: Sequence[int], modality: Modality, level: int
) -> Path:
    edges = "x".join(str(n) for n in shape)
    made = "" if tissue.density == 1 else f"-{tissue.density:g}"
    made += f"-level{level}" if level else ""
    return cache / f"{modality}-{tissue.difficulty}-{tissue.seed}-{edges}-{tissue.voxel_size:g}nm{made}.npz"


def _make_phantom(
    cache: Path, tissue: PhantomSettings, shape: Sequence[int], modality: Modality, level: int
) -> None:
    from skimage.measure import block_reduce

    from connectomics.io.downsampling import downsample
    from connectomics.phantom.phantom import Phantom

    phantom = Phantom(tissue)
    z, y, x = (slice(0, n * 2**level) for n in shape)
    raw = phantom.xray((z, y, x)) if modality == "xray" else phantom.em((z, y, x))
    labels = phantom.labels((z, y, x))
    for _ in range(level):
        raw = downsample(raw, (2, 2, 2), "image")
        labels = block_reduce(labels, (2, 2, 2), np.max)  # type: ignore[no-untyped-call]
    path = _cached(cache, tissue, shape, modality, level)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, raw=raw, labels=labels)
    partial.replace(path)
