"""The labelled volumes of a calibration: opened or generated, with the chunks that each object lies in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.cascade.chunks import counts
from connectomics.cascade.levels import Level, open_level
from connectomics.cascade.settings import CalibrationSettings, LabelledVolume, SparsePhantoms
from connectomics.errors import GeometryError, InputError
from connectomics.io.downsampling import downsample
from connectomics.io.opening import open_volume
from connectomics.io.pyramid import plan_levels
from connectomics.io.volume import Volume
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.roi import IntTriple


@dataclass(frozen=True)
class Labelled:
    """A labelled volume, opened.

    Attributes
    ----------
    name : str
        What to call it.
    levels : sequence of Level
        The coarse levels that the detectors look at.
    objects : sequence of ndarray
        Per object, (n, 3) fine chunks (z, y, x) that it lies in.
    shape : tuple of int
        Fine chunks along z, y, x.
    """

    name: str
    levels: Sequence[Level]
    objects: Sequence[NDArray[np.int64]]
    shape: IntTriple


def labelled_volumes(settings: CalibrationSettings) -> Iterator[Labelled]:
    """The volumes that the settings name, one at a time.

    Raises
    ------
    InputError
        There are none, or one cannot be read.
    GeometryError
        Labels do not lie on their image's voxels.
    """
    if not settings.volumes and not settings.phantoms:
        raise InputError("cascade: nothing to calibrate on; give volumes or phantoms.")
    for one in settings.volumes:
        yield _opened(one, settings)
    for some in settings.phantoms:
        for seed in range(some.first_seed, some.first_seed + some.count):
            yield _phantom(some, seed, settings)


def _opened(one: LabelledVolume, settings: CalibrationSettings) -> Labelled:
    root = Path(settings.root)
    raw = open_volume(root / one.raw, settings.voxel_size)
    labels = open_volume(root / one.labels, settings.voxel_size)
    if not np.allclose(raw.voxel_size, settings.voxel_size, rtol=0.01):
        raise GeometryError(
            f"{one.raw}: voxel size {raw.voxel_size} nm, but voxel_size is {settings.voxel_size} nm: a "
            "cascade is calibrated at the voxel size of its volumes."
        )
    same = np.allclose(labels.voxel_size, raw.voxel_size)
    same = same and np.allclose(labels.offset, raw.offset, rtol=0, atol=1e-3 * min(raw.voxel_size))
    if labels.shape != raw.shape or not same:
        raise GeometryError(
            f"{one.labels}: shape {labels.shape} of {labels.voxel_size} nm at {labels.offset} nm is not that "
            f"of {one.raw}, {raw.shape} of {raw.voxel_size} nm at {raw.offset} nm."
        )
    levels = [open_level(str(root / one.raw), settings.voxel_size, d.level) for d in settings.levels]
    return Labelled(one.raw, levels, _objects(labels, settings.chunk), counts(raw.shape, settings.chunk))


def _phantom(some: SparsePhantoms, seed: int, settings: CalibrationSettings) -> Labelled:
    size = settings.voxel_size
    if len(set(size)) > 1:
        raise InputError(f"cascade: phantoms have cubic voxels, voxel_size is {size}.")
    phantom = Phantom(
        PhantomSettings(seed=seed, density=some.density, difficulty=some.difficulty, voxel_size=size[0])
    )
    z, y, x = (slice(0, n) for n in some.shape)
    image = phantom.xray((z, y, x)) if settings.modality == "xray" else phantom.em((z, y, x))
    name = f"phantom {seed}"
    finest = _in_memory(image, settings, (1, 1, 1), name)
    labels = _in_memory(phantom.labels((z, y, x)), settings, (1, 1, 1), name)
    levels, coarse, factor = [], image, (1, 1, 1)
    deepest = settings.levels[-1].level
    wanted = {detector.level for detector in settings.levels}
    for number, (step, _) in enumerate(plan_levels(finest, deepest + 1), start=1):
        coarse = downsample(coarse, step, "image")
        factor = (factor[0] * step[0], factor[1] * step[1], factor[2] * step[2])
        if number in wanted:
            levels.append(Level(_in_memory(coarse, settings, factor, name), factor, True))
    if len(levels) < len(wanted):
        raise InputError(f"cascade: phantoms of shape {some.shape} have no level {deepest}; enlarge them.")
    return Labelled(name, levels, _objects(labels, settings.chunk), counts(some.shape, settings.chunk))


def _in_memory(array: NDArray[Any], settings: CalibrationSettings, factor: IntTriple, name: str) -> Volume:
    z, y, x = (v * f for v, f in zip(settings.voxel_size, factor, strict=True))
    return Volume(array, (z, y, x), (0.0, 0.0, 0.0), name)


def _objects(labels: Volume, chunk: IntTriple) -> list[NDArray[np.int64]]:
    """The chunks that each object lies in, read chunk by chunk."""
    found: dict[int, list[IntTriple]] = {}
    for index in np.ndindex(*counts(labels.shape, chunk)):
        z, y, x = (
            slice(i * c, min(n, (i + 1) * c)) for i, c, n in zip(index, chunk, labels.shape, strict=True)
        )
        for one in np.unique(labels.read_box((z, y, x))):
            if one:
                found.setdefault(int(one), []).append((index[0], index[1], index[2]))
    return [np.array(chunks, np.int64) for _, chunks in sorted(found.items())]
