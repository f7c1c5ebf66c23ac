"""Losses that look only where the truth is known."""

import torch
from torch.nn import functional

_RAREST = 0.02
"""A class rarer than this in a channel weighs no more than one of this share."""


def balanced_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor, balance: float = 1.0
) -> torch.Tensor:
    """Binary cross-entropy per channel, classes balanced, averaged over channels.

    Parameters
    ----------
    logits, target
        (n, c, z, y, x).
    known
        Bool, same shape: where the target counts.
    balance
        1: both classes weigh one half in each channel; 0: every known voxel weighs the same.
    """
    axes = (0, 2, 3, 4)
    weight = known.float()
    count = weight.sum(axes, keepdim=True).clamp_min(1)
    share = ((target * weight).sum(axes, keepdim=True) / count).clamp(_RAREST, 1 - _RAREST)
    classes = target * 0.5 / share + (1 - target) * 0.5 / (1 - share)
    weight = weight * (balance * classes + (1 - balance))
    loss = functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return ((loss * weight).sum(axes) / weight.sum(axes).clamp_min(_RAREST)).mean()


def dice_loss(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice of what is NOT connected, per channel, over known voxels."""
    axes = (0, 2, 3, 4)
    apart = torch.sigmoid(-logits.float()) * known
    truth = (1 - target) * known
    overlap = 2 * (apart * truth).sum(axes) + 1
    return (1 - overlap / (apart.sum(axes) + truth.sum(axes) + 1)).mean()


def centreline_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Centreline Dice (doi:10.1109/CVPR46437.2021.01629) of the inside of objects, over known voxels.

    Computed on every cube of two voxels as one: on single voxels it took 40% of a training step.

    Parameters
    ----------
    logits
        (n, 3, z, y, x) of the affinities to the nearest neighbours; inside means all three are high.
    labels
        (n, z, y, x): objects from 1, 0 = border or background, -1 = unknown.
    """
    from monai.losses.cldice import SoftclDiceLoss

    known = (labels >= 0)[:, None]
    inside = torch.sigmoid(logits.float().amin(1, keepdim=True)) * known
    truth = (labels > 0)[:, None].float()
    coarse = [functional.avg_pool3d(one, 2, ceil_mode=True) for one in (inside, truth)]
    loss: torch.Tensor = SoftclDiceLoss(iter_=3)(*coarse)
    return loss


def descriptor_loss(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean squared error of sigmoid(logits) against descriptors in 0..1, over known voxels.

    Parameters
    ----------
    logits, target
        (n, 10, z, y, x).
    known
        (n, 1, z, y, x) bool.
    """
    squared = (torch.sigmoid(logits.float()) - target) ** 2 * known
    return squared.sum() / (known.sum() * target.shape[1]).clamp_min(1)
