"""What the network should have said: affinities and local shape descriptors of labelled crops."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from connectomics.affinities import pair_slices

_TINY = 1e-6
_SLAB_VOXELS = 2**24
"""Voxels eroded at once: a whole volume would need many times its own memory."""


def erode_borders(labels: torch.Tensor, voxels: int, becomes: int = 0) -> torch.Tensor:
    """Draw objects back from other objects that they touch, to background.

    Parameters
    ----------
    labels
        (z, y, x) int32: objects from 1, 0 = background, -1 = unlabelled.
    voxels
        Every object voxel that has another object within a cube of this radius becomes background; a border
        with background or with unlabelled voxels stays.
    becomes
        What such voxels become: 0, or -1 (unlabelled) where objects are known to go on there.
    """
    if voxels == 0:
        return labels
    result = torch.empty_like(labels)
    thick = max(1, _SLAB_VOXELS // labels[0].numel())
    for low in range(0, labels.shape[0], thick):
        result[low : low + thick] = _eroded(labels, low, thick, voxels, becomes)
    return result


def _eroded(labels: torch.Tensor, low: int, thick: int, voxels: int, becomes: int) -> torch.Tensor:
    """At most `thick` sections from `low`."""
    before, size = min(voxels, low), min(thick, labels.shape[0] - low)
    labels = labels[low - before : low + size + voxels]
    ids = labels.float()[None, None]
    positive = ids > 0
    edge, infinity = 2 * voxels + 1, float("inf")
    largest = functional.max_pool3d(ids.masked_fill(~positive, -infinity), edge, 1, voxels)
    smallest = -functional.max_pool3d((-ids).masked_fill(~positive, -infinity), edge, 1, voxels)
    return torch.where((positive & (largest != smallest))[0, 0], becomes, labels)[before : before + size]


def affinity_targets(
    labels: torch.Tensor, offsets: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """True affinities of a batch, and where they are known.

    Parameters
    ----------
    labels
        (n, z, y, x) int: objects from 1, 0 = background, -1 = unlabelled.
    offsets
        One (z, y, x) voxel offset per channel.

    Returns
    -------
    affinities
        (n, c, z, y, x) float, 1 where v and v + offset belong to one object.
    known
        (n, c, z, y, x) bool: the partner is inside, and neither voxel is unlabelled.
    """
    shape = (labels.shape[0], len(offsets), *labels.shape[1:])
    affinities = torch.zeros(shape, device=labels.device)
    known = torch.zeros(shape, dtype=torch.bool, device=labels.device)
    for channel, offset in enumerate(offsets):
        here, there = pair_slices(offset)
        a, b = labels[(slice(None), *here)], labels[(slice(None), *there)]
        affinities[:, channel][(slice(None), *here)] = ((a == b) & (a > 0)).float()
        known[:, channel][(slice(None), *here)] = (a >= 0) & (b >= 0)
    return affinities, known


def descriptor_targets(
    labels: torch.Tensor, sigma: Sequence[float], step: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Local shape descriptors of a batch (doi:10.1038/s41592-022-01711-z), and where they are known.

    Within a Gaussian window around each voxel, over the voxels of its object: the mean offset (z, y, x), the
    variances (zz, yy, xx), the correlations (zy, zx, yx), and the share of the window that the object
    fills; all scaled to 0..1. Computed on every `step`-th voxel; a voxel takes the descriptor of its
    cell if the cell's voxel is of its own object.

    Parameters
    ----------
    labels
        (n, z, y, x) int: objects from 1; anything else has no descriptor.
    sigma
        The window's standard deviation, voxels (z, y, x).
    step
        Voxels between samples.

    Returns
    -------
    descriptors
        (n, 10, z, y, x) float in 0..1.
    known
        (n, 1, z, y, x) bool.
    """
    coarse = labels[:, ::step, ::step, ::step].contiguous()
    fields = torch.stack([_descriptors(sample, [s / step for s in sigma]) for sample in coarse])
    for axis in (2, 3, 4):
        fields = fields.repeat_interleave(step, axis)
    cells = coarse
    for axis in (1, 2, 3):
        cells = cells.repeat_interleave(step, axis)
    z, y, x = labels.shape[1:]
    known = (cells[:, :z, :y, :x] == labels) & (labels > 0)
    return fields[:, :, :z, :y, :x], known[:, None]


def _descriptors(labels: torch.Tensor, sigma: Sequence[float]) -> torch.Tensor:
    """Descriptors (10, z, y, x) of one crop at its own resolution; sigma in its voxels."""
    ids, inverse = torch.unique(labels, return_inverse=True)
    objects = torch.arange(len(ids), device=labels.device)[:, None, None, None]
    masks = (inverse[None] == objects).float()
    moments = _window_moments(masks, sigma)
    own = inverse[None, None].expand(1, 10, *labels.shape)
    m = moments.gather(0, own)[0]  # each voxel reads the moments of its own object
    size = m[0].clamp_min(_TINY)
    mean = m[1:4] / size
    variance = (m[4:7] / size - mean**2).clamp_min(_TINY)
    pairs = ((0, 1), (0, 2), (1, 2))
    covariance = torch.stack([m[7 + i] / size - mean[a] * mean[b] for i, (a, b) in enumerate(pairs)])
    spread = torch.stack([(variance[a] * variance[b]).sqrt() for a, b in pairs])
    scale = torch.tensor(list(sigma), device=labels.device).view(3, 1, 1, 1)
    parts = (mean / scale * 0.5 + 0.5, variance / scale**2, covariance / spread * 0.5 + 0.5, m[:1])
    return torch.cat(parts).clamp(0, 1)


_POWERS = (
    (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0), (0, 2, 0), (0, 0, 2),
    (1, 1, 0), (1, 0, 1), (0, 1, 1),
)  # fmt: skip


def _window_moments(masks: torch.Tensor, sigma: Sequence[float]) -> torch.Tensor:
    """Moments (k, 10, z, y, x) of k masks (k, z, y, x) in a Gaussian window around every voxel.

    The window is separable, so each axis is one product with a banded matrix (one for each power of the
    offset along that axis); what lies outside the crop counts as empty.
    """
    z, y, x = (_bands(n, s, masks.device) for n, s in zip(masks.shape[1:], sigma, strict=True))
    along_z = {p: torch.einsum("ab,kbyx->kayx", z[p], masks) for p in range(3)}
    along_y: dict[tuple[int, int], torch.Tensor] = {}
    for pz, py, _ in _POWERS:
        if (pz, py) not in along_y:
            along_y[pz, py] = torch.einsum("ab,kzbx->kzax", y[py], along_z[pz])
    return torch.stack(
        [torch.einsum("ab,kzyb->kzya", x[px], along_y[pz, py]) for pz, py, px in _POWERS], dim=1
    )


def _bands(n: int, sigma: float, device: torch.device) -> torch.Tensor:
    """(3, n, n): row v holds the Gaussian weights of v's window times offset^p, p = 0, 1, 2."""
    place = torch.arange(n, device=device, dtype=torch.float32)
    offset = place[None] - place[:, None]
    reach = torch.arange(-int(3 * sigma), int(3 * sigma) + 1, device=device)
    total = torch.exp(-0.5 * (reach / sigma) ** 2).sum()
    weight = torch.exp(-0.5 * (offset / sigma) ** 2) * (offset.abs() <= int(3 * sigma)) / total
    return torch.stack([weight, weight * offset, weight * offset**2])
