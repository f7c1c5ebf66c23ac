"""Pairs of an input and a finer target, and batches of crops that match to the voxel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from connectomics.roi import IntTriple, Triple
from connectomics.training.augment import Matrix, signed_permutation, vary_intensity
from connectomics.training.settings import AugmentSettings


@dataclass(frozen=True)
class PairSource:
    """An input volume and its finer target.

    Attributes
    ----------
    raw : tensor
        (z, y, x) uint8 or float32, the input.
    target : tensor
        (z * fz, y * fy, x * fx) uint8 or float32, the same place in the other modality.
    proportion : float
        How often crops come from here, relative to the other sources.
    mean, std : float
        Of the input: (raw - mean) / std is what the network sees.
    target_mean, target_std : float
        (target - target_mean) / target_std is what the network is to say.
    score : tuple of slice
        The part that is scored when validating, input voxels.
    grey_type : str
        Type of the target's grey values as they were read.
    """

    raw: torch.Tensor
    target: torch.Tensor
    proportion: float
    mean: float
    std: float
    target_mean: float
    target_std: float
    score: tuple[slice, ...] = (slice(None),) * 3
    grey_type: str = "uint8"

    @property
    def factor(self) -> IntTriple:
        """Target voxels per input voxel, zyx."""
        z, y, x = (fine // coarse for fine, coarse in zip(self.target.shape, self.raw.shape, strict=True))
        return z, y, x

    def to(self, device: torch.device) -> "PairSource":
        """The same source on a device."""
        return replace(self, raw=self.raw.to(device), target=self.target.to(device))


class PairCropper:
    """Draws crops of pairs: mirrored and turned together, the input's grey values varied alone.

    Parameters
    ----------
    sources
        Pairs, on the device where batches are wanted; none smaller than a crop along any axis.
    crop
        Input voxels of a crop, zyx.
    batch
        Crops in a batch.
    augment
        How they vary: flips and grey values; nothing is interpolated.
    voxel_size
        Of the input, nm zyx; says, with the factor, which axes may be exchanged.
    seed
        Seed of everything drawn.
    """

    def __init__(
        self,
        sources: Sequence[PairSource],
        crop: IntTriple,
        batch: int,
        augment: AugmentSettings,
        voxel_size: Triple,
        seed: int,
    ) -> None:
        self._sources, self._crop, self._batch = list(sources), crop, batch
        self._augment, self._seed = augment, seed
        factor = self._sources[0].factor
        self._kinds = list(zip(voxel_size, factor, crop, strict=True))
        shares = np.array([source.proportion for source in sources], np.float64)
        self._shares = shares / shares.sum()

    def batch(self, step: int, rank: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of a step: input (n, 1, z, y, x) and finer target (n, 1, ...), float32, standardised."""
        random = np.random.default_rng([self._seed, step, rank])
        pairs = [self._sample(random) for _ in range(self._batch)]
        image, target = (torch.stack(part)[:, None] for part in zip(*pairs, strict=True))
        noise = torch.Generator(image.device).manual_seed(int(random.integers(2**31)))
        return vary_intensity(image, self._augment, random, noise), target

    def _sample(self, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        source = self._sources[int(random.choice(len(self._sources), p=self._shares))]
        turn = signed_permutation(random, self._kinds) if self._augment.flips else np.eye(3)
        sizes = zip(source.raw.shape, self._crop, strict=True)
        low = [int(random.integers(0, n - c + 1)) for n, c in sizes]
        return cut_pair(source, low, self._crop, turn)


def cut_pair(
    source: PairSource, low: Sequence[int], crop: IntTriple, turn: Matrix
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a crop out of both volumes of a pair, and mirror and turn it.

    Parameters
    ----------
    source
        The pair.
    low
        First input voxel of the crop.
    crop
        Its shape, input voxels; equal along axes that `turn` exchanges.
    turn
        Signed permutation (3 x 3).

    Returns
    -------
    image, target
        (z, y, x) and (z * fz, y * fy, x * fx) float32, standardised.
    """
    coarse = tuple(slice(a, a + n) for a, n in zip(low, crop, strict=True))
    fine = tuple(slice(s.start * f, s.stop * f) for s, f in zip(coarse, source.factor, strict=True))
    axes = [int(axis) for axis in np.abs(turn).argmax(1)]
    mirrored = [axis for axis in range(3) if turn[axis].sum() < 0]
    image = (source.raw[coarse].float() - source.mean) / source.std
    target = (source.target[fine].float() - source.target_mean) / source.target_std
    return image.permute(axes).flip(mirrored), target.permute(axes).flip(mirrored)
