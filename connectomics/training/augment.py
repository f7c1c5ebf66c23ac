"""Augmentation on the device: along which grid a crop is cut, and how its grey values vary.

Geometry is drawn on the CPU as numbers and applied once, while cutting: a crop is read straight from
its volume along a turned, scaled and bent grid, so nothing is interpolated twice and no corner is lost
that the volume has. MONAI supplies the separable filter; its dictionary transforms work crop by crop
and resample each time.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from monai.networks.layers.convutils import gaussian_1d
from monai.networks.layers.simplelayers import separable_filtering
from numpy.typing import NDArray
from torch.nn import functional

from connectomics.roi import Triple
from connectomics.training.settings import AugmentSettings

ELASTIC_SPACING = 24
"""Voxels between the points of an elastic deformation."""

_CYTOPLASM = 0.8
"""Standard deviation of an object's change of grey value, in standard deviations of the image."""

Matrix = NDArray[np.float64]


def draw_matrix(random: np.random.Generator, settings: AugmentSettings, voxel_size: Triple) -> Matrix:
    """Draw a crop's linear map (3 x 3): from voxel offsets in the crop to voxel offsets in the volume.

    Flips and quarter turns mix only axes of one voxel size; turns by any angle are about every axis
    where voxels are cubes, and about z where only y and x agree.
    """
    matrix = np.eye(3)
    if settings.flips:
        matrix = signed_permutation(random, voxel_size) @ matrix
    if random.random() < settings.rotate:
        scale = np.exp(random.uniform(-1, 1, 3) * math.log1p(settings.scale))
        matrix = _turn(random, voxel_size) @ np.diag(scale) @ matrix
    return matrix


def signed_permutation(random: np.random.Generator, kinds: Sequence[object]) -> Matrix:
    """Draw a mirroring and turning by quarters (3 x 3) that mixes only axes of one kind (voxel size)."""
    order = [int(axis) for axis in random.permutation(3)]
    if any(kinds[a] != kinds[b] for a, b in enumerate(order)):
        swap = kinds[1] == kinds[2] and random.random() < 0.5
        order = [0, 2, 1] if swap else [0, 1, 2]
    return np.eye(3)[order] * random.choice([-1.0, 1.0], 3)[:, None]


def _turn(random: np.random.Generator, voxel_size: Triple) -> Matrix:
    if len(set(voxel_size)) == 1:
        orthogonal, triangle = np.linalg.qr(random.normal(size=(3, 3)))
        return orthogonal * np.sign(np.diag(triangle))
    if voxel_size[1] != voxel_size[2]:
        return np.eye(3)
    angle = random.uniform(0, 2 * math.pi)
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def draw_bend(
    random: np.random.Generator, settings: AugmentSettings, crop: Sequence[int]
) -> NDArray[np.float32] | None:
    """Draw an elastic deformation (3, gz, gy, gx) in voxels on a coarse grid over the crop, or None."""
    if settings.elastic_sigma == 0 or random.random() >= settings.elastic:
        return None
    knots = [max(2, math.ceil(n / ELASTIC_SPACING) + 1) for n in crop]
    return np.clip(random.normal(size=(3, *knots)), -2.5, 2.5).astype(np.float32) * settings.elastic_sigma


def vary_intensity(
    image: torch.Tensor,
    settings: AugmentSettings,
    random: np.random.Generator,
    noise: torch.Generator,
) -> torch.Tensor:
    """Vary the grey values of a batch.

    Parameters
    ----------
    image
        (n, 1, z, y, x) float, normalised to mean 0 and standard deviation 1.
    settings
        How much.
    random
        Draws what happens to each crop.
    noise
        Draws voxel noise, on the image's device.
    """
    n = len(image)

    def each(values: NDArray[np.floating]) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32).to(image.device)[:, None, None, None, None]

    exponent = np.exp(random.uniform(-1, 1, n) * math.log1p(settings.gamma))
    contrast = 1 + random.uniform(-1, 1, n) * settings.contrast
    brightness = random.uniform(-1, 1, n) * settings.brightness
    strength = random.uniform(0, 1, n) * settings.noise
    unit = ((image + 4) / 8).clamp(1e-3, 1)  # four standard deviations either side
    image = (unit ** each(exponent)) * 8 - each(8 * 0.5**exponent)
    image = image * each(contrast) + each(brightness)
    image = _defects(image, settings, random)
    image = _blur(image, settings.blur, random)
    return image + each(strength) * torch.randn(image.shape, generator=noise, device=image.device)


def vary_cytoplasm(
    image: torch.Tensor, labels: torch.Tensor, share: float, random: np.random.Generator
) -> torch.Tensor:
    """Make some objects darker or brighter inside, fading out towards their borders.

    Parameters
    ----------
    image
        (z, y, x) float, normalised to mean 0 and standard deviation 1.
    labels
        (z, y, x) int: objects from 1; what is not an object keeps its grey values.
    share
        Share of the objects that change.
    random
        Draws which, and by how much.
    """
    if share == 0:
        return image
    known = labels.clamp_min(0).long()
    ids, inverse = torch.unique(known, return_inverse=True)
    shift = random.normal(-0.2, _CYTOPLASM, len(ids)) * (random.random(len(ids)) < share)
    field = torch.as_tensor(shift, dtype=torch.float32).to(image.device)[inverse] * (known > 0)
    faded = functional.avg_pool3d(field[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    return image + faded * (known > 0)


def _blur(image: torch.Tensor, largest: float, random: np.random.Generator) -> torch.Tensor:
    """Blur half of the crops, all by one width."""
    chosen = np.flatnonzero(random.random(len(image)) < 0.5)
    sigma = random.uniform(0.3, 1) * largest
    if sigma < 0.2 or len(chosen) == 0:
        return image
    index = torch.as_tensor(chosen, device=image.device)
    kernel = gaussian_1d(torch.tensor(sigma), truncated=3.0).to(image.device)
    return image.index_copy(0, index, separable_filtering(image[index], [kernel] * 3, mode="replicate"))


def _defects(image: torch.Tensor, settings: AugmentSettings, random: np.random.Generator) -> torch.Tensor:
    """Bad sections and rings, drawn into some of the crops."""
    image = image.clone()
    for sample in image[:, 0]:
        if random.random() < settings.sections:
            bad_section(sample, random)
        if random.random() < settings.rings:
            sample += torch.as_tensor(ring_profile(sample.shape, random), device=image.device)
    return image


def bad_section(sample: torch.Tensor, random: np.random.Generator) -> None:
    """Spoil one section (z, y, x), in place: missing, dark, or shifted by up to two voxels."""
    z = int(random.integers(0, sample.shape[0]))
    kind = random.integers(0, 3)
    if kind == 0:
        sample[z] = float(random.normal())
    elif kind == 1:
        sample[z] = sample[z] * 0.5 - float(random.uniform(0.5, 1.5))
    else:
        dy, dx = (int(v) for v in random.integers(-2, 3, 2))
        sample[z] = torch.roll(sample[z].clone(), (dy, dx), (0, 1))


def ring_profile(shape: Sequence[int], random: np.random.Generator) -> NDArray[np.float32]:
    """Rings about an axis near the crop, and straight streaks: (1, y, x) to add to every section."""
    height, width = shape[1:]
    centre = random.uniform(-1.5, 2.5, 2) * (height, width)
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - centre[0], x - centre[1])
    angle = random.uniform(0, math.pi)
    along = y * math.cos(angle) + x * math.sin(angle)
    rings = _lines(radius, random, float(random.uniform(0.1, 0.5)))
    streaks = _lines(along - along.min(), random, float(random.uniform(0, 0.3)))
    return (rings + streaks).astype(np.float32)[None]


def _lines(place: NDArray[np.float64], random: np.random.Generator, strength: float) -> NDArray[np.float64]:
    first = int(place.min())
    profile = random.normal(size=int(place.max()) - first + 2) * strength
    profile *= random.random(len(profile)) < 0.2
    return profile[place.astype(int) - first]


def cutting_grid(
    crop: Sequence[int],
    matrix: Matrix,
    centre: Sequence[float],
    bend: NDArray[np.float32] | None,
    device: torch.device,
) -> torch.Tensor:
    """Where each voxel of a crop lies in its volume: (z, y, x, 3) voxel coordinates, float32."""
    axes = [torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2 for n in crop]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    if bend is not None:
        field = torch.from_numpy(bend).to(device)[None]
        offsets = (
            offsets + functional.interpolate(field, size=tuple(crop), mode="trilinear", align_corners=True)[0]
        )
    linear = torch.as_tensor(matrix, dtype=torch.float32).to(device)
    middle = torch.as_tensor(list(centre), dtype=torch.float32).to(device)
    # sums, not a matrix product: that would round coordinates to ten bits on some GPUs
    turned = torch.stack([(linear[a][:, None, None, None] * offsets).sum(0) for a in range(3)], dim=-1)
    return turned + middle
