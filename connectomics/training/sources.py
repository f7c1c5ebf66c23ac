"""A training volume as it is held on the device: image, labels, and where its crops come from."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from connectomics.errors import InputError

UNLABELLED = -1
"""Label of a voxel that no loss and no score looks at."""

MAX_OBJECTS = 2**24
"""Labels pass through float32 when they are resampled; beyond this they would not be exact."""


Labels = NDArray[np.int16 | np.int32]

_SLAB_VOXELS = 2**24
"""Voxels looked at once: numpy's own functions on a whole volume take many times its memory."""


@dataclass(frozen=True)
class Source:
    """One volume to draw crops from.

    Attributes
    ----------
    raw : tensor
        (z, y, x) uint8 or float32.
    labels : tensor
        (z, y, x) int16 or int32: objects 1..n, 0 = background, -1 = unlabelled.
    proportion : float
        How often crops come from here, relative to the other sources.
    mean, std : float
        Of the raw values: (raw - mean) / std is what the network sees.
    score : tuple of slice
        The part that is scored when validating.
    traces : ndarray of int16 or int32, or None
        (z, y, x), for a volume with skeletons, from `draw_traces`.
    number : int
        Place in the list of a run's volumes; kept where one volume is drawn from with several labels.
    part : bool
        Cut from a volume that is there whole, too.
    centres : tuple of (int, int) or None
        First and last + 1 voxel, along z, y, x, where crops are centred that are not sent to a
        hard place; None: wherever anything is known.
    """

    raw: torch.Tensor
    labels: torch.Tensor
    proportion: float
    mean: float
    std: float
    score: tuple[slice, ...] = (slice(None),) * 3
    traces: Labels | None = None
    number: int = 0
    part: bool = False
    centres: tuple[tuple[int, int], ...] | None = None

    def to(self, device: torch.device) -> "Source":
        """The same source on a device."""
        return replace(self, raw=self.raw.to(device), labels=self.labels.to(device))

    def normalised(self, box: tuple[slice, ...]) -> NDArray[np.float32]:
        """What a network sees of a box, (z, y, x)."""
        return ((self.raw[box].float() - self.mean) / self.std).cpu().numpy()


def make_source(
    raw: NDArray[np.generic],
    labels: NDArray[np.generic] | None,
    zero_is_unlabelled: bool,
    proportion: float = 1.0,
    score: tuple[slice, ...] = (slice(None),) * 3,
    low: Sequence[int] = (0, 0, 0),
) -> Source:
    """A source from arrays (z, y, x); labels become 1..n, background 0 or -1; -1 everywhere without labels.

    Labels may cover a part of the image: the box from voxel `low`. Outside it nothing is labelled.

    Raises
    ------
    InputError
        The image is constant, or there are too many objects, or none and nothing is known of the rest.
    """
    image: NDArray[Any] = raw if raw.dtype == np.uint8 else raw.astype(np.float32)
    mean, std = moments(image, "raw")
    if labels is None:
        numbers = torch.full((1, 1, 1), UNLABELLED, dtype=torch.int16).expand(*raw.shape)
    else:
        numbers = torch.from_numpy(_numbered(labels, raw.shape, zero_is_unlabelled, low))
    return Source(torch.from_numpy(np.ascontiguousarray(image)), numbers, proportion, mean, std, score)


def label_type(count: int) -> type[np.int16] | type[np.int32]:
    """The smallest type that holds labels -1..count: they are held for every voxel of a volume."""
    return np.int16 if count <= np.iinfo(np.int16).max else np.int32


def _slabs(array: NDArray[np.generic]) -> Iterator[slice]:
    """Slices along z of a limited number of voxels."""
    thick = max(1, _SLAB_VOXELS // max(1, int(np.prod(array.shape[1:]))))
    return (slice(z, z + thick) for z in range(0, array.shape[0], thick))


def moments(image: NDArray[Any], name: str) -> tuple[float, float]:
    """Mean and standard deviation of an image.

    Raises
    ------
    InputError
        It is constant or holds NaN.
    """
    mean = math.fsum(float(image[slab].sum(dtype=np.float64)) for slab in _slabs(image)) / image.size
    squares = math.fsum(float(np.square(image[slab] - np.float64(mean)).sum()) for slab in _slabs(image))
    std = float(np.sqrt(squares / image.size))
    if not np.isfinite(std) or std == 0:
        raise InputError(f"{name}: the image is constant or holds NaN; nothing can be learnt from it.")
    return mean, std


def _numbered(
    labels: NDArray[np.generic], shape: tuple[int, ...], zero_is_unlabelled: bool, low: Sequence[int]
) -> Labels:
    if labels.dtype.kind not in "uib":
        raise InputError(f"labels: expected whole numbers, got {labels.dtype}; is it an image?")
    ids = np.unique(np.concatenate([labels[:0].ravel(), *(np.unique(labels[s]) for s in _slabs(labels))]))
    if ids.size and ids[0] < UNLABELLED:
        raise InputError(f"labels: the least is {ids[0]}; objects are above 0, and -1 is unlabelled.")
    order = np.cumsum(ids > 0)
    count = int(order.max(initial=0))
    if count >= MAX_OBJECTS or (zero_is_unlabelled and not count):
        raise InputError(f"labels: need 1 to {MAX_OBJECTS - 1} objects, got {count}; 0 is unlabelled here.")
    numbers = order.astype(label_type(count))
    numbers[ids == 0] = UNLABELLED if zero_is_unlabelled else 0
    numbers[ids < 0] = UNLABELLED
    result = np.full(shape, UNLABELLED, numbers.dtype)
    there = result[tuple(slice(a, a + n) for a, n in zip(low, labels.shape, strict=True))]
    for slab in _slabs(labels):
        there[slab] = numbers[np.searchsorted(ids, labels[slab])]
    return result
