"""Tubes: a skeleton dilated to a radius that is surely inside its axon, and borders where tubes must part."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from connectomics.roi import Triple
from connectomics.training.sources import Labels
from connectomics.training.traces import CONTESTED

UNKNOWN = -1
_BLOCK = 256
_DARKER = 0.25
"""How much darker than the axons a border is, at least, in standard deviations of the image."""


def draw_tubes(
    traces: Labels, raw: NDArray[np.generic], voxel_size: Triple, radius: float, reach: float
) -> Labels:
    """Labels made of skeletons and image: what is surely axon, what lies between two, and the unknown rest.

    A voxel within `radius` of a skeleton is that axon. The image is flooded from the tubes, bright voxels
    first (axons are brighter than the myelin and the membranes between them), up to `reach`; where
    the floods of two axons meet in a voxel clearly darker than its own tube, there is a border. Where
    skeletons of two axons come closer to each other than one radius, one of them is misplaced: unknown.

    Parameters
    ----------
    traces
        (z, y, x) from `draw_traces`.
    raw
        (z, y, x) image.
    voxel_size
        nm, zyx.
    radius, reach
        nm.

    Returns
    -------
    ndarray of the traces' type, (z, y, x)
        1..n as the traces are numbered, 0 = border, -1 = unknown.
    """
    labels: Labels = np.full(traces.shape, UNKNOWN, traces.dtype)
    halo = [math.ceil(1.5 * reach / size) for size in voxel_size]
    for corner in itertools.product(*(range(0, n, _BLOCK) for n in traces.shape)):
        core = [slice(a, min(a + _BLOCK, n)) for a, n in zip(corner, traces.shape, strict=True)]
        outer = tuple(
            slice(max(0, s.start - h), min(n, s.stop + h))
            for s, h, n in zip(core, halo, traces.shape, strict=True)
        )
        inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(core, outer, strict=True))
        ids = traces[outer].astype(np.int32)
        labels[tuple(core)] = _tubes(ids, raw[outer], voxel_size, radius, reach)[inner]
    return labels


def _tubes(
    traces: NDArray[np.int32],
    raw: NDArray[np.generic],
    voxel_size: Triple,
    radius: float,
    reach: float,
) -> NDArray[np.int32]:
    """The same for one block that fits in memory several times."""
    from scipy import ndimage
    from skimage.segmentation import watershed

    labels = np.full(traces.shape, UNKNOWN, np.int32)
    if not (traces > 0).any():
        return labels
    distance, nearest = ndimage.distance_transform_edt(traces == 0, sampling=voxel_size, return_indices=True)
    owner = traces[tuple(nearest)]
    tubes = np.where((distance <= radius) & (owner > 0), owner, 0)
    contested = _contested(traces, voxel_size, radius)
    tubes[contested] = 0
    image = ndimage.gaussian_filter(raw.astype(np.float32), 1)
    flooded = watershed(-image, tubes, mask=distance <= reach)  # type: ignore[no-untyped-call]
    darkness = _darkness(image, tubes, flooded)
    parted = (tubes == 0) & _between_two(flooded) & (darkness > _DARKER)
    labels[tubes > 0] = tubes[tubes > 0]
    labels[parted] = 0
    return labels


def _darkness(
    image: NDArray[np.float32], tubes: NDArray[np.int32], flooded: NDArray[np.int32]
) -> NDArray[np.float32]:
    """How much darker than the tube of its flood a voxel is, in standard deviations; -inf without a flood."""
    level = np.nan_to_num(_levels(image, tubes), nan=-np.inf).astype(np.float32)[flooded]
    spread = float(image.std()) or 1.0
    found: NDArray[np.float32] = (level - image) / np.float32(spread)
    return found


def _levels(image: NDArray[np.float32], tubes: NDArray[np.int32]) -> NDArray[np.float64]:
    """The mean of the image in each tube; NaN for 0, and for an axon without a tube here."""
    from scipy import ndimage

    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = ndimage.mean(image, tubes, np.arange(int(tubes.max()) + 1))
    found[0] = np.nan
    return found


def _between_two(flooded: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Voxels with a voxel of another flood beside them (and not only unflooded ones)."""
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(3, 1)
    largest = ndimage.maximum_filter(flooded, footprint=cross)
    hidden = np.where(flooded > 0, flooded, np.iinfo(np.int32).max)
    smallest = ndimage.minimum_filter(hidden, footprint=cross)
    found: NDArray[np.bool_] = largest > smallest
    return found


def _contested(traces: NDArray[np.int32], voxel_size: Triple, radius: float) -> NDArray[np.bool_]:
    """Voxels within `radius` of a place where skeletons of two axons lie within one radius of each other."""
    from scipy import ndimage

    reach = [max(1, math.ceil(radius / size)) for size in voxel_size]
    size = [2 * r + 1 for r in reach]
    largest = ndimage.maximum_filter(traces, size=size)
    smallest = ndimage.minimum_filter(np.where(traces > 0, traces, np.iinfo(np.int32).max), size=size)
    clash = (traces != 0) & ((largest > smallest) | (traces == CONTESTED))
    found: NDArray[np.bool_] = ndimage.maximum_filter(clash, size=size)
    return found
