"""Losses of a translation: within a tolerance, likelihood, structure, membranes, an adversary."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from connectomics.errors import SettingsError
from connectomics.networks.contract import Normalisation
from connectomics.networks.heads import LOG_VARIANCE
from connectomics.roi import IntTriple, Triple

_STRUCTURE_EDGE = 32
"""Voxels of a cube in each crop on which structural similarity is computed; it is slow."""


def register(
    prediction: torch.Tensor, target: torch.Tensor, tolerance: int, price: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare each crop with its target shifted to where it fits best.

    Parameters
    ----------
    prediction
        (n, c, z, y, x); channel 0 is the grey value.
    target
        (n, 1, z, y, x).
    tolerance
        Largest shift along each axis, voxels.
    price
        Mean absolute error that a shift must gain per voxel of its length.

    Returns
    -------
    prediction
        Its inside, `tolerance` voxels cut off every side.
    target
        The part of the target that belongs to it, (n, 1, ...).
    shift
        (n, 3): the voxels by which the target lies off, zyx.
    """
    if tolerance == 0:
        return prediction, target, torch.zeros(len(prediction), 3)
    shape = prediction.shape[2:]
    inside = tuple(slice(tolerance, n - tolerance) for n in shape)
    inner = prediction[_spatial(inside)]
    seen = inner[:, 0, ::2, ::2, ::2].detach().float()  # an eighth of the voxels is enough to tell
    moves = list(itertools.product(range(-tolerance, tolerance + 1), repeat=3))
    costs = []
    for move in moves:
        length = sum(m * m for m in move) ** 0.5
        there = _moved(target, inside, move)[:, 0, ::2, ::2, ::2]
        costs.append((seen - there).abs().mean((1, 2, 3)) + price * length)
    best = torch.stack(costs).argmin(0).tolist()
    chosen = [moves[i] for i in best]
    aligned = torch.cat([_moved(target[i : i + 1], inside, move) for i, move in enumerate(chosen)])
    return inner, aligned, torch.tensor(chosen, dtype=torch.float32)


def _moved(target: torch.Tensor, inside: Sequence[slice], move: Sequence[int]) -> torch.Tensor:
    return target[_spatial([slice(s.start + m, s.stop + m) for s, m in zip(inside, move, strict=True)])]


def _spatial(box: Sequence[slice]) -> tuple[slice, ...]:
    """Index of a box of the last three axes of five."""
    return (slice(None), slice(None), *box)


def gaussian_nll(
    prediction: torch.Tensor, log_variance: torch.Tensor, target: torch.Tensor, beta: float = 0.0
) -> torch.Tensor:
    """Mean negative log-likelihood of a Gaussian, without its constant.

    Parameters
    ----------
    prediction, log_variance, target
        One shape.
    beta
        Each term weighs by its variance to this power (as a number, not to be learnt), so that the mean is
        learnt where the variance is large, too (beta-NLL).
    """
    logarithm = log_variance.float().clamp(*LOG_VARIANCE)
    terms = 0.5 * (logarithm + (prediction.float() - target) ** 2 * torch.exp(-logarithm))
    if beta:
        terms = terms * torch.exp(beta * logarithm.detach())
    return terms.mean()


def structure_loss(prediction: torch.Tensor, target: torch.Tensor, seed: Sequence[int]) -> torch.Tensor:
    """1 - structural similarity (MONAI) of standardised images (n, 1, z, y, x), in one cube drawn by `seed`.

    In single precision wherever it is called: variances are small differences, which bf16 rounds away.
    """
    from monai.losses.ssim_loss import SSIMLoss

    place = _drawn_place(prediction, (_STRUCTURE_EDGE,) * 3, np.random.default_rng(seed))
    parts = [image[place].float() / 6 + 0.5 for image in (prediction, target)]
    with torch.autocast(prediction.device.type, enabled=False):
        loss: torch.Tensor = SSIMLoss(spatial_dims=3, data_range=1.0, win_size=7)(*parts)
    return loss


def _drawn_place(image: torch.Tensor, edges: Sequence[int], rng: np.random.Generator) -> tuple[slice, ...]:
    """Index of at most so many voxels of the last three axes of five, anywhere in the image."""
    kept = [min(n, k) for n, k in zip(image.shape[2:], edges, strict=True)]
    lows = rng.integers(0, np.subtract(image.shape[2:], kept) + 1).tolist()
    return _spatial([slice(a, a + k) for a, k in zip(lows, kept, strict=True)])


class MembraneLoss:
    """How differently EM segmentation networks see the real and the translated image.

    Parameters
    ----------
    models
        Names or folders of models with affinities; each step looks through one of them, drawn at random, so
        that what one network alone takes for a membrane is not learnt.
    voxel_size
        Of the images, nm zyx.
    grey
        What standardised grey values stand for.
    crop
        Voxels of the images that are looked at, zyx: another place at every step, so that what is learnt does
        not depend on where a network's strides fall (in the same place they leave a grid in the image).

    Raises
    ------
    ModelError
        No such model, or one for another voxel size.
    SettingsError
        One has no affinities, or needs larger crops.
    """

    def __init__(
        self, models: Sequence[str], voxel_size: Triple, grey: Normalisation, crop: IntTriple
    ) -> None:
        self._networks = [_FrozenNetwork(model, voxel_size, grey, crop) for model in models]
        self._crop = crop

    def to(self, device: torch.device) -> "MembraneLoss":
        """Move the networks to a device, in place."""
        for network in self._networks:
            network.to(device)
        return self

    def check_crop(self, shape: Sequence[int]) -> None:
        """Refuse target crops that are smaller than what is looked at.

        Raises
        ------
        SettingsError
            Says both.
        """
        if any(n < c for n, c in zip(shape, self._crop, strict=True)):
            raise SettingsError(
                f"translation.membrane_crop: {self._crop} does not fit into {tuple(shape)} voxels."
            )

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor, seed: Sequence[int]) -> torch.Tensor:
        """Cross-entropy of the affinities on the prediction against those on the target, (n, 1, z, y, x).

        The seed says where they are looked at, and through which network.
        """
        rng = np.random.default_rng(seed)
        place = _drawn_place(prediction, self._crop, rng)
        look = self._networks[int(rng.integers(len(self._networks)))]
        with torch.no_grad():
            wanted = torch.sigmoid(look(target[place]))
        return functional.binary_cross_entropy_with_logits(look(prediction[place]), wanted)


class _FrozenNetwork:
    """Affinities of an EM model on standardised images, as logits."""

    def __init__(self, model: str, voxel_size: Triple, grey: Normalisation, crop: IntTriple) -> None:
        from connectomics.networks.checkpoint import load_network
        from connectomics.networks.models import check_fits, find_model

        found = find_model(model, "translation.membrane_model")
        check_fits(found, voxel_size)
        contract = found.contract
        if not contract.offsets or contract.heads[0].kind != "affinities":
            raise SettingsError(f"translation.membrane_model: '{model}' has no affinities.")
        if any(c % d for c, d in zip(crop, contract.divisor, strict=True)):
            raise SettingsError(
                f"translation.membrane_crop: '{model}' needs multiples of {contract.divisor}, got {crop}."
            )
        self._network = load_network(found).requires_grad_(False)
        self._channels = contract.heads[0].channels
        own = contract.normalisation
        fixed = own.kind == "fixed"  # else by mean and deviation of the image, which the images have already
        self._scale = grey.std / own.std if fixed else 1.0
        self._shift = (grey.mean - own.mean) / own.std if fixed else 0.0

    def to(self, device: torch.device) -> None:
        self._network.to(device)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self._network(image * self._scale + self._shift)
        return output[:, : self._channels].float()


class Adversary:
    """A patch discriminator (MONAI) and its own optimiser, trained beside the network.

    Parameters
    ----------
    discriminator
        From `make_discriminator`, on its device.
    lr
        Learning rate.
    """

    def __init__(self, discriminator: nn.Module, lr: float) -> None:
        from monai.losses.adversarial_loss import PatchAdversarialLoss

        self._discriminator = discriminator
        self.optimiser = torch.optim.Adam(discriminator.parameters(), lr, betas=(0.5, 0.999))
        self._loss: Any = PatchAdversarialLoss(criterion="least_squares")

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Teach the discriminator one step; return (loss of the translation, loss of the discriminator)."""
        self._discriminator.requires_grad_(True)
        self.optimiser.zero_grad(set_to_none=True)
        told = self._judge(target, real=True) + self._judge(prediction.detach(), real=False)
        (0.5 * told).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self._discriminator.requires_grad_(False)
        fooled = self._loss(self._discriminator(prediction)[-1], target_is_real=True, for_discriminator=False)
        return fooled, 0.5 * told.detach()

    def _judge(self, image: torch.Tensor, real: bool) -> torch.Tensor:
        verdict = self._discriminator(image)[-1]
        loss: torch.Tensor = self._loss(verdict, target_is_real=real, for_discriminator=True)
        return loss


def make_discriminator(channels: int, layers: int) -> nn.Module:
    """MONAI's patch discriminator of grey images in three dimensions."""
    from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

    return PatchDiscriminator(spatial_dims=3, channels=channels, in_channels=1, num_layers_d=layers)
