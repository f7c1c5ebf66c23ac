"""What a trained network sees in its own training volumes, kept beside its weights for `adapt rank`."""

import logging
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.inference.activations import pooled_activations
from connectomics.inference.crop_places import crop_shape, draw_crops, lattice
from connectomics.inference.image_statistics import image_statistics
from connectomics.networks.checkpoint import load_network
from connectomics.networks.contract import Contract, write_contract
from connectomics.networks.feature_file import CropFeatures, write_features
from connectomics.networks.layers import deepest_layer
from connectomics.networks.models import CONTRACT_FILE, Model
from connectomics.roi import IntTriple, int_triple
from connectomics.training.sources import Source

_log = logging.getLogger(__name__)

EDGE = 64
"""Voxels along the edges of the crops that are compared."""

_ENOUGH = 64
"""Crops side by side, over all volumes, below which smaller ones are taken."""

_GROUPS = 6
"""Where there are fewer volumes, each is looked at in eight parts."""


def store_features(model: Model, sources: Sequence[Source], count: int, seed: int = 0) -> Contract:
    """Write the features of a model's training crops beside its weights, and say so in its contract.

    Parameters
    ----------
    model
        As it was exported; features are those of its first member.
    sources
        The volumes that it was fitted to, normalised as they were then.
    count
        Crops, shared out among the volumes alike.
    seed
        Of where they are cut.

    Returns
    -------
    Contract
        As it is written.

    Raises
    ------
    InputError
        The volumes are smaller than two crops.
    """
    contract = model.contract
    network = load_network(model)
    shapes = [int_triple(source.raw.shape) for source in _distinct(sources)]
    crop = _crop(shapes, contract.divisor)
    crops, group = _crops(_distinct(sources), crop, count, seed)
    if len(crops) < 2:
        raise InputError(f"features: fewer than two crops of {crop} voxels with an image in the volumes.")
    layer = deepest_layer(network, contract.in_channels, contract.divisor)
    features = CropFeatures(
        pooled_activations(network, layer, crops),
        np.stack([image_statistics(one) for one in crops]),
        np.array(group, np.int32),
    )
    written = contract.model_copy(update={"features": write_features(model, features, layer, crop)})
    write_contract(model.weights.with_name(CONTRACT_FILE), written)
    return written


def _crop(shapes: Sequence[IntTriple], divisor: IntTriple) -> IntTriple:
    """The largest crop, up to `EDGE`, of which there are enough side by side."""
    smallest = [min(shape[axis] for shape in shapes) for axis in range(3)]
    edge = EDGE
    while True:
        crop = crop_shape(smallest, (edge,) * 3, divisor)
        count = sum(math.prod(n // c for n, c in zip(shape, crop, strict=True)) for shape in shapes)
        if count >= _ENOUGH or edge // 2 < 2 * max(divisor):
            return crop
        edge //= 2


def _distinct(sources: Sequence[Source]) -> list[Source]:
    """Each image once: a volume with painted labels and skeletons is there twice."""
    return list({id(source.raw): source for source in sources if not source.part}.values())


def _crops(
    sources: Sequence[Source], crop: IntTriple, count: int, seed: int
) -> tuple[list[NDArray[np.float32]], list[int]]:
    crops: list[NDArray[np.float32]] = []
    group: list[int] = []
    share = -(-count // len(sources))
    for number, source in enumerate(sources):
        shape = int_triple(source.raw.shape)
        image = source.raw.cpu().numpy()
        places, found = draw_crops(
            image.__getitem__, list(_places(shape, crop)), crop, share, source.std, seed + number
        )
        crops += [((one.astype(np.float32) - source.mean) / source.std).astype(np.float32) for one in found]
        if len(sources) < _GROUPS:
            group += [8 * number + _part(place, shape, crop) for place in places]
        else:
            group += [number] * len(places)
    return crops[:count], group[:count]


def _places(shape: IntTriple, crop: IntTriple) -> Iterator[IntTriple]:
    if any(n < c for n, c in zip(shape, crop, strict=True)):
        return
    yield from lattice((0, 0, 0), shape, crop)


def _part(place: Sequence[int], shape: Sequence[int], crop: Sequence[int]) -> int:
    """Which eighth of the volume a crop's centre lies in."""
    z, y, x = (int(2 * p + c >= n) for p, c, n in zip(place, crop, shape, strict=True))
    return 4 * z + 2 * y + x


def remember_sources(model: Model, sources: Sequence[Source], count: int) -> None:
    """`store_features` at the end of a run; a failure is logged, and the model stays as it is."""
    if count == 0:
        return
    try:
        store_features(model, sources, count)
    except InputError as error:
        _log.info("no features stored for 'adapt rank': %s", error)
    except Exception:  # hours of training must not be lost to what comes after
        _log.exception("storing features for 'adapt rank' failed; the model is written without.")
