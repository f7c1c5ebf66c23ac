"""Pairs to train on: registered volumes, an EM volume and its simulated X-ray, or both sides of phantoms."""

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from connectomics.errors import GeometryError, InputError, SettingsError
from connectomics.io.opening import open_volume
from connectomics.io.volume import Volume
from connectomics.phantom.simulate import SimulatedXray
from connectomics.roi import IntTriple, triple
from connectomics.training.data_settings import DataSettings, PairData, PhantomData
from connectomics.training.loading import box_of, check_size, scored_part
from connectomics.training.pairs import PairSource
from connectomics.training.phantoms import make_missing, seeds_of, tissue_settings
from connectomics.training.sources import moments

_log = logging.getLogger(__name__)


def load_pairs(settings: DataSettings, pairs: Sequence[PairData], factor: IntTriple) -> list[PairSource]:
    """Read pairs of volumes, only inside their regions; inputs that are not given are simulated.

    Parameters
    ----------
    settings
        Root, and voxel size of the input.
    pairs
        What to read.
    factor
        Target voxels per input voxel, zyx.

    Raises
    ------
    InputError
        A volume is missing or constant.
    GeometryError
        Voxel sizes are not the factor apart, or a region is not inside both volumes.
    SettingsError
        A simulation by another factor.
    """
    return [source for pair in pairs for source in _load(settings, pair, factor)]


def _load(settings: DataSettings, pair: PairData, factor: IntTriple) -> list[PairSource]:
    root = Path(settings.root)
    fine = triple([size / f for size, f in zip(settings.voxel_size, factor, strict=True)])
    target = open_volume(root / pair.target, fine)
    check_size(target, fine, f"data.voxel_size {settings.voxel_size} nm and network.upsample {factor}")
    raw, shift = None, np.zeros(3, np.int64)
    if pair.raw is not None:
        raw = open_volume(root / pair.raw, settings.voxel_size)
        check_size(raw, settings.voxel_size, "data.voxel_size")
        shift = _shift(raw, target, pair)
    low, shape = _region(pair, raw, target, shift, factor)
    score = scored_part(pair.score_region, low, shape)
    edges = [n * f for n, f in zip(shape, factor, strict=True)]
    first = [int(a * f + s) for a, f, s in zip(low, factor, shift, strict=True)]
    truth = target.read_box(box_of(first, edges))
    inputs = [raw.read_box(box_of(low, shape))] if raw else _simulated(pair, truth, fine, factor)
    share = pair.proportion / len(inputs)
    made = make_pair(inputs[0], truth, share, score)
    return [
        made,
        *(replace(make_pair(image, truth, share, score), target=made.target) for image in inputs[1:]),
    ]


def _shift(raw: Volume, target: Volume, pair: PairData) -> NDArray[np.int64]:
    """The target's voxel at the input's low corner, to the nearest."""
    apart = (np.array(raw.offset) - np.array(target.offset)) / np.array(target.voxel_size)
    shift = np.round(apart).astype(np.int64)
    if np.abs(apart - shift).max() > 0.01:
        _log.warning("%s: lies %s voxels off the grid of %s; the losses' tolerance has to make up for it.",
                     pair.target, (apart - shift).round(2).tolist(), pair.raw)  # fmt: skip
    return shift


def _region(
    pair: PairData, raw: Volume | None, target: Volume, shift: NDArray[np.int64], factor: IntTriple
) -> tuple[IntTriple, IntTriple]:
    """First voxel and shape of what is read of the input; the target covers all of it."""
    covered = []
    for axis, (begin, f) in enumerate(zip(shift, factor, strict=True)):
        last = int((target.shape[axis] - begin) // f)
        covered.append((max(0, math.ceil(-begin / f)), last if raw is None else min(last, raw.shape[axis])))
    region = pair.region or tuple(covered)
    if any(a < c or b > d or a >= b for (a, b), (c, d) in zip(region, covered, strict=True)):
        raise GeometryError(
            f"{pair.target}: region {region} is not inside {tuple(covered)}, which the target covers "
            "(input voxels)."
        )
    (z, zz), (y, yy), (x, xx) = region
    return (z, y, x), (zz - z, yy - y, xx - x)


def _simulated(
    pair: PairData, truth: NDArray[Any], voxel_size: tuple[float, float, float], factor: IntTriple
) -> list[NDArray[np.uint8]]:
    wanted = pair.simulate
    if wanted is None:
        return []
    if "factor" in wanted.model_fields_set and wanted.factor != factor:
        raise SettingsError(
            f"simulate.factor: is network.upsample, {factor}; leave it out (got {wanted.factor})."
        )
    volume = Volume(truth, voxel_size, (0.0, 0.0, 0.0), pair.target)
    inputs = []
    for seed in range(wanted.seed, wanted.seed + wanted.count):
        xray = SimulatedXray(volume, wanted.model_copy(update={"factor": factor, "seed": seed}))
        inputs.append(xray.xray(box_of((0, 0, 0), xray.shape)))
    return inputs


def load_phantom_pairs(
    settings: DataSettings, phantoms: Sequence[PhantomData], factor: IntTriple, cache: Path
) -> list[PairSource]:
    """X-ray and, `factor` times finer, EM of phantoms: made, several at once, or taken from the cache folder.

    Raises
    ------
    SettingsError
        Voxel sizes that phantoms do not have, or an input that is no X-ray.
    """
    if not phantoms:
        return []
    if len(set(settings.voxel_size)) > 1 or len(set(factor)) > 1:
        raise SettingsError(
            "data.phantoms: their voxels are cubes; data.voxel_size and network.upsample must be the same "
            f"along all axes, got {settings.voxel_size} and {factor}."
        )
    if settings.modality != "xray":
        raise SettingsError(
            "data.phantoms: pairs of phantoms lead from X-ray to EM; data.modality must be 'xray'."
        )
    jobs = seeds_of(phantoms)
    calls = [
        (cache, seed, kind, group.shape, settings.voxel_size[0], factor[0]) for group, seed, kind in jobs
    ]
    make_missing(_make_pair, _cached, calls)
    sources = []
    for call, (group, _, _) in zip(calls, jobs, strict=True):
        with np.load(_cached(*call), allow_pickle=False) as data:
            sources.append(make_pair(data["raw"], data["target"], group.proportion / group.count))
    return sources


def _cached(cache: Path, seed: int, kind: str, shape: Sequence[int], voxel_size: float, factor: int) -> Path:
    edges = "x".join(str(n) for n in shape)
    return cache / f"pair-{kind}-{seed}-{edges}-{voxel_size:g}nm-by-{factor}.npz"


def _make_pair(
    cache: Path, seed: int, kind: str, shape: Sequence[int], voxel_size: float, factor: int
) -> None:
    from connectomics.phantom.phantom import Phantom

    xray = Phantom(tissue_settings(seed, kind, voxel_size)).xray(box_of((0, 0, 0), shape))
    em = Phantom(tissue_settings(seed, kind, voxel_size / factor)).em(
        box_of((0, 0, 0), [n * factor for n in shape])
    )
    path = _cached(cache, seed, kind, shape, voxel_size, factor)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, raw=xray, target=em)
    partial.replace(path)


def make_pair(
    raw: NDArray[Any],
    target: NDArray[Any],
    proportion: float = 1.0,
    score: tuple[slice, ...] = (slice(None),) * 3,
) -> PairSource:
    """A pair from arrays (z, y, x), each standardised by its own mean and deviation.

    Raises
    ------
    InputError
        One of them is constant or holds NaN.
    """
    images = [image if image.dtype == np.uint8 else image.astype(np.float32) for image in (raw, target)]
    (mean, std), (target_mean, target_std) = moments(images[0], "input"), moments(images[1], "target")
    tensors = [torch.from_numpy(np.ascontiguousarray(image)) for image in images]
    return PairSource(
        tensors[0], tensors[1], proportion, mean, std, target_mean, target_std, score, str(target.dtype)
    )


def check_crop_fits(sources: Iterable[PairSource], crop: IntTriple) -> None:
    """Refuse pairs that are smaller than a crop.

    Raises
    ------
    InputError
        Says which shape.
    """
    for source in sources:
        if any(n < c for n, c in zip(source.raw.shape, crop, strict=True)):
            raise InputError(
                f"data: a pair of {tuple(source.raw.shape)} input voxels is smaller than the crop {crop}."
            )
