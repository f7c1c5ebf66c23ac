"""Batches of crops, cut on the device from volumes there; batch k depends on seed, k, rank, hard places."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from connectomics.roi import IntTriple, Triple
from connectomics.training.augment import cutting_grid, draw_bend, draw_matrix, vary_cytoplasm, vary_intensity
from connectomics.training.hard_places import Places
from connectomics.training.settings import AugmentSettings
from connectomics.training.sources import UNLABELLED, Source


class Cropper:
    """Draws augmented crops from sources.

    Parameters
    ----------
    sources
        Volumes, on the device where batches are wanted.
    crop
        Voxels of a crop, zyx.
    batch
        Crops in a batch.
    augment
        How they vary.
    voxel_size
        nm, zyx; says which axes may be exchanged.
    seed
        Seed of everything drawn.
    rare_objects
        Share of crops centred in an object drawn by the root of its size.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        crop: IntTriple,
        batch: int,
        augment: AugmentSettings,
        voxel_size: Triple,
        seed: int,
        rare_objects: float = 0.0,
    ) -> None:
        self._sources, self._crop, self._batch = list(sources), crop, batch
        self._augment, self._voxel_size, self._seed = augment, voxel_size, seed
        shares = np.array([source.proportion for source in sources], np.float64)
        self._shares = shares / shares.sum()
        self._rare = rare_objects
        self._bounds = [source.centres or bounds(source.labels) for source in sources]
        self._objects = [_Objects(source) if rare_objects else None for source in sources]
        self._hard: Mapping[int, Places] = {}
        self._hard_share = 0.0

    def revisit(self, places: Mapping[int, Places], share: float) -> None:
        """From now on centre this share of a volume's crops near its hard places, where it has any.

        Parameters
        ----------
        places
            By the number of the volume (`Source.number`).
        share
            0 to 1.
        """
        self._hard, self._hard_share = places, share

    def batch(self, step: int, rank: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of a step: image (n, 1, z, y, x) float32, labels (n, z, y, x) int32."""
        random = np.random.default_rng([self._seed, step, rank])
        pairs = [self._sample(random) for _ in range(self._batch)]
        image = torch.stack([image for image, _ in pairs])[:, None]
        labels = torch.stack([labels for _, labels in pairs])
        noise = torch.Generator(image.device).manual_seed(int(random.integers(2**31)))
        return vary_intensity(image, self._augment, random, noise), labels

    def _sample(self, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        number = int(random.choice(len(self._sources), p=self._shares))
        source = self._sources[number]
        matrix = draw_matrix(random, self._augment, self._voxel_size)
        bend = draw_bend(random, self._augment, self._crop)
        extent = extent_of(self._crop, matrix)
        wanted = self._wanted(number, extent, random)
        axes = zip(source.raw.shape, extent, self._bounds[number], wanted, strict=True)
        centre = [_centre(random, *axis) for axis in axes]
        image, labels = cut(source, self._crop, matrix, centre, bend)
        return vary_cytoplasm(image, labels, self._augment.cytoplasm, random), labels

    def _wanted(
        self, number: int, extent: IntTriple, random: np.random.Generator
    ) -> tuple[int | None, int | None, int | None]:
        """A voxel near which to centre a crop of a source, if not just anywhere."""
        hard, objects = self._hard.get(self._sources[number].number), self._objects[number]
        if hard is not None and len(hard) and random.random() < self._hard_share:
            reach = [n // 4 for n in extent]  # not always in the very middle
            z, y, x = (
                int(v + random.integers(-r, r + 1)) for v, r in zip(hard.draw(random), reach, strict=True)
            )
            return z, y, x
        return objects.draw(random) if objects and random.random() < self._rare else (None, None, None)


class _Objects:
    """Some voxels of every object of a volume, where crops are centred, to draw centres from."""

    _PER_OBJECT = 4096

    def __init__(self, source: Source) -> None:
        box = tuple(slice(*ends) for ends in source.centres or bounds(source.labels))
        labels = source.labels[box]
        self._low = tuple(s.start for s in box)
        flat = labels.cpu().numpy().ravel()
        order = np.flatnonzero(flat > 0)
        order = order[np.argsort(flat[order], kind="stable")]
        _, first, counts = np.unique(flat[order], return_index=True, return_counts=True)
        self._shape = tuple(labels.shape)
        pieces = zip(first, counts, strict=True)
        self._voxels = [order[a : a + n : max(1, n // self._PER_OBJECT)].copy() for a, n in pieces]
        root = np.sqrt(counts)
        self._shares = root / root.sum()

    def draw(self, random: np.random.Generator) -> tuple[int | None, int | None, int | None]:
        """A voxel of an object."""
        if not self._voxels:
            return None, None, None
        voxels = self._voxels[int(random.choice(len(self._voxels), p=self._shares))]
        place = np.unravel_index(int(random.choice(voxels)), self._shape)
        z, y, x = (int(v) + low for v, low in zip(place, self._low, strict=True))
        return z, y, x


def bounds(labels: torch.Tensor) -> tuple[tuple[int, int], ...]:
    """First and last + 1 voxel along z, y, x where anything is known; the whole volume if nothing is."""
    known = labels >= 0
    found = []
    for axis in range(3):
        first, second = (a for a in range(3) if a != axis)
        there = torch.nonzero(known.any(second).any(first)).flatten()
        found.append((int(there[0]), int(there[-1]) + 1) if len(there) else (0, labels.shape[axis]))
    return tuple(found)


def extent_of(crop: IntTriple, matrix: NDArray[np.float64]) -> IntTriple:
    """Voxels that a turned crop spans along the volume's axes: exact for quarter turns, between for others.

    Examples
    --------
    >>> extent_of((5, 16, 24), np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]]))
    (24, 16, 5)
    """
    shares = matrix**2 / (matrix**2).sum(axis=1, keepdims=True)
    z, y, x = (round(float(n)) for n in shares @ np.array(crop))
    return z, y, x


def _centre(
    random: np.random.Generator, size: int, crop: int, known: tuple[int, int], wanted: int | None
) -> float:
    """A crop's centre along one axis: where something is known, and an eighth over the edge at most."""
    low, high = 3 * crop // 8, size - 3 * crop // 8
    if high <= low:
        whole = (size - 1) // 2
    elif wanted is not None:
        whole = min(max(wanted, low), high - 1)
    else:
        first = min(max(low, known[0]), high - 1)
        whole = int(random.integers(first, max(first + 1, min(high, known[1]))))
    return whole + (0.5 if crop % 2 == 0 else 0.0)


def cut(
    source: Source,
    crop: IntTriple,
    matrix: NDArray[np.float64],
    centre: Sequence[float],
    bend: NDArray[np.float32] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut one crop along a turned and bent grid.

    Parameters
    ----------
    source
        The volume.
    crop
        Voxels, zyx.
    matrix
        From offsets in the crop to offsets in the volume.
    centre
        The crop's centre, voxel coordinates in the volume.
    bend
        Displacements on a coarse grid, or None.

    Returns
    -------
    image
        (z, y, x) float32, normalised; mirrored beyond the volume.
    labels
        (z, y, x) int32; unlabelled beyond the volume.
    """
    reach = np.abs(matrix) @ ((np.array(crop) - 1) / 2 + (0 if bend is None else float(np.abs(bend).max())))
    low = [max(0, math.floor(c - r) - 1) for c, r in zip(centre, reach, strict=True)]
    high = [min(n, math.ceil(c + r) + 2) for c, r, n in zip(centre, reach, source.raw.shape, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    place = cutting_grid(
        crop, matrix, [c - a for c, a in zip(centre, low, strict=True)], bend, source.raw.device
    )
    shape = torch.tensor([b - a for a, b in zip(low, high, strict=True)], device=place.device)
    grid = (2 * place / (shape - 1).clamp_min(1) - 1).flip(-1)[None]
    inside = ((place > -0.5) & (place < shape - 0.5)).all(-1)
    image = (source.raw[box].float() - source.mean) / source.std
    with torch.autocast(place.device.type, enabled=False):
        image = functional.grid_sample(
            image[None, None], grid, mode="bilinear", padding_mode="reflection", align_corners=True
        )
        labels = functional.grid_sample(
            source.labels[box].float()[None, None],
            grid,
            mode="nearest",
            padding_mode="border",
            align_corners=True,
        )
    return image[0, 0], torch.where(inside, labels[0, 0].round().int(), UNLABELLED)
