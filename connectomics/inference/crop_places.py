"""Where crops of a volume are looked at: on a lattice, spread by a seed, and with an image in them."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.roi import IntTriple

Box = tuple[slice, slice, slice]

BLANK = 0.15
"""A crop whose grey values vary less than this share of the volume's standard deviation holds no tissue."""

PADDED = 0.25
"""Nor does one in which more than this share of the voxels has one and the same grey value."""


def crop_shape(shape: Sequence[int], wanted: Sequence[int], divisor: Sequence[int]) -> IntTriple:
    """The crop that a volume and a network allow: whole multiples of the divisor, `wanted` at most.

    Examples
    --------
    >>> crop_shape((40, 300, 300), (64, 64, 64), (16, 16, 16))
    (32, 64, 64)
    """
    z, y, x = (max(d, min(n, w) // d * d) for n, w, d in zip(shape, wanted, divisor, strict=True))
    return z, y, x


def lattice(low: Sequence[int], high: Sequence[int], crop: Sequence[int]) -> list[IntTriple]:
    """First voxels of crops side by side between two corners, what is left shared out at both ends.

    Examples
    --------
    >>> lattice((0, 0, 0), (64, 64, 100), (64, 64, 32))
    [(0, 0, 2), (0, 0, 34), (0, 0, 66)]
    """
    axes = []
    for a, b, c in zip(low, high, crop, strict=True):
        count = (b - a) // c
        first = a + (b - a - count * c) // 2
        axes.append([first + i * c for i in range(count)])
    return [(z, y, x) for z, y, x in itertools.product(*axes)]


def box_at(corner: Sequence[int], shape: Sequence[int]) -> Box:
    """Voxel slices from a first voxel and a shape."""
    z, y, x = (slice(int(a), int(a) + int(n)) for a, n in zip(corner, shape, strict=True))
    return z, y, x


def dense_lattice(
    low: Sequence[int], high: Sequence[int], crop: Sequence[int], parts: int
) -> list[IntTriple]:
    """First voxels of crops that overlap, a `parts`-th of a crop apart, from the first voxel to the last.

    Examples
    --------
    >>> dense_lattice((0, 0, 0), (64, 64, 100), (64, 64, 64), 2)
    [(0, 0, 0), (0, 0, 32), (0, 0, 36)]
    """
    axes = []
    for a, b, c in zip(low, high, crop, strict=True):
        steps = range(a, b - c + 1, max(1, c // parts))
        axes.append(sorted({*steps, *([b - c] if b - c >= a else [])}))
    return [(z, y, x) for z, y, x in itertools.product(*axes)]


def holds_tissue(crop: NDArray[Any], scale: float) -> bool:
    """Whether a crop holds an image: not blank, and not padding in part.

    Parameters
    ----------
    crop
        Raw grey values.
    scale
        The volume's standard deviation.
    """
    if float(np.std(crop, dtype=np.float64)) < BLANK * scale:
        return False
    _, counts = np.unique(crop, return_counts=True)
    return int(counts.max()) <= PADDED * crop.size


def draw_crops(
    read: Callable[[Box], NDArray[Any]],
    corners: Sequence[IntTriple],
    crop: IntTriple,
    count: int,
    scale: float,
    seed: int,
) -> tuple[list[IntTriple], list[NDArray[Any]]]:
    """Crops in random order, up to `count` that hold an image.

    Parameters
    ----------
    read
        Reads a box of voxels.
    corners, crop
        First voxels, and the shape of each.
    count
        How many are wanted.
    scale
        The volume's standard deviation.
    seed
        Of the order.

    Returns
    -------
    corners, crops
        What was taken.
    """
    places: list[IntTriple] = []
    crops: list[NDArray[Any]] = []
    for number in np.random.default_rng(seed).permutation(len(corners)):
        if len(crops) == count:
            break
        found = read(box_at(corners[number], crop))
        if holds_tissue(found, scale):
            places.append(corners[number])
            crops.append(found)
    return places, crops
