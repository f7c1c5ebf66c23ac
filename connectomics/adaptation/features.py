"""Features of a volume's crops, made as those that a model stores of its training crops."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.inference.crop_places import dense_lattice, draw_crops, lattice
from connectomics.inference.image_statistics import image_statistics
from connectomics.inference.normalisation import Affine, sample_affine
from connectomics.io.volume import Box, Volume
from connectomics.networks.contract import FeatureRecord
from connectomics.networks.models import Model
from connectomics.roi import IntTriple

_log = logging.getLogger(__name__)

_FEW = 16
"""With fewer crops side by side, crops may overlap, by a half or else by three quarters."""

_FEWEST = 4
"""From fewer crops nothing could be told."""


@dataclass(frozen=True)
class TargetCrops:
    """Crops of a volume, normalised.

    Attributes
    ----------
    crops : list of ndarray
        (z, y, x) float32 each.
    corners : list of tuple
        First voxel of each.
    overlap : bool
        Crops overlap: p-values are then too small.
    """

    crops: list[NDArray[np.float32]]
    corners: list[IntTriple]
    overlap: bool


def normalisation_of(model: Model, volume: Volume) -> Affine:
    """How a model normalises a volume."""
    normal = model.contract.normalisation
    if normal.kind == "sampled":
        return sample_affine(volume.read_box, volume.shape)
    return Affine(normal.mean, normal.std)


def target_crops(volume: Volume, affine: Affine, crop: IntTriple, count: int, seed: int) -> TargetCrops:
    """Crops of a volume, side by side where there is room for enough of them.

    A volume that is thinner than a crop is mirrored at its faces.

    Raises
    ------
    InputError
        Fewer than four crops hold an image.
    """
    thin = tuple((0, max(0, c - n)) for c, n in zip(crop, volume.shape, strict=True))
    if any(after for _, after in thin):
        _log.warning("%s: thinner than a crop of %s voxels; it is mirrored.", volume.name, crop)
    shape = [max(n, c) for n, c in zip(volume.shape, crop, strict=True)]
    corners, overlap = lattice((0, 0, 0), shape, crop), False
    for parts in (2, 4):
        if len(corners) < min(_FEW, count):
            corners, overlap = dense_lattice((0, 0, 0), shape, crop, parts), True

    def read(box: Box) -> NDArray[np.generic]:
        z, y, x = (slice(s.start, min(s.stop, n)) for s, n in zip(box, volume.shape, strict=True))
        return np.pad(volume.read_box((z, y, x)), thin, mode="symmetric")

    # what has no image is told from the volume's own spread, whatever the model was normalised by
    scale = sample_affine(volume.read_box, volume.shape).std
    places, found = draw_crops(read, corners, crop, count, scale, seed)
    if len(found) < _FEWEST:
        raise InputError(
            f"{volume.name}: only {len(found)} crops of {crop} voxels hold an image; comparing needs "
            f"{_FEWEST} at least. Give a larger region."
        )
    return TargetCrops([affine.apply(one) for one in found], places, overlap)


def target_features(
    model: Model, record: FeatureRecord, crops: TargetCrops, kind: str, device: str
) -> NDArray[np.float32]:
    """Features (n, d) of crops: ``deepest`` or ``common``, as in the model's file of features."""
    if kind == "common":
        return np.stack([image_statistics(crop) for crop in crops.crops])
    from connectomics.inference.activations import pooled_activations
    from connectomics.networks.checkpoint import load_network

    return pooled_activations(load_network(model).to(device), record.layer, crops.crops)
