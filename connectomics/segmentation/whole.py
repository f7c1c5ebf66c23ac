"""Segment an array that fits in memory: the block functions on one block that covers everything."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.roi import IntTriple
from connectomics.segmentation.agglomeration import PERCENTS, agglomerate
from connectomics.segmentation.cleanup import drop_small
from connectomics.segmentation.edges import block_edges
from connectomics.segmentation.fragments import block_fragments
from connectomics.segmentation.grey import block_grey
from connectomics.segmentation.heights import outlined
from connectomics.segmentation.region_graph import RegionGraph, merge_edges
from connectomics.segmentation.relabel import relabel
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.stitching import resolve

Whole = tuple[NDArray[np.uint64], RegionGraph, NDArray[np.uint64], NDArray[np.uint64]]


def segment_array(
    affinities: NDArray[np.uint8],
    offsets: Sequence[IntTriple],
    settings: SegmentationSettings,
    image: NDArray[np.float32] | None = None,
) -> Whole:
    """Fragments, region graph, lookup table and segmentation of a whole array.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, round(255 p), nearest neighbours first.
    offsets
        The offset of each channel, voxels zyx.
    settings
        How to segment.
    image
        (z, y, x) in standard deviations from its mean; needed where `settings.grey_penalty` is not 0.

    Returns
    -------
    fragments : ndarray of uint64, (z, y, x)
    graph : RegionGraph
    lut : ndarray of uint64
        Segment of every fragment.
    segmentation : ndarray of uint64, (z, y, x)
    """
    fragments, graph = fragment_graph(affinities, offsets, settings, image)
    count = int(fragments.max(initial=0))
    sizes = np.bincount(fragments.ravel().astype(np.int64), minlength=count + 1)
    lut = agglomerate(graph, count, settings.linkage, settings.threshold).lut(settings.threshold)
    lut = drop_small(lut, sizes, settings.min_object)
    segmentation = outlined(relabel(fragments, lut), affinities, (0, 0, 0), settings.outline)
    return fragments, graph, lut, segmentation


def at_thresholds(
    affinities: NDArray[np.uint8],
    offsets: Sequence[IntTriple],
    settings: SegmentationSettings,
    thresholds: Sequence[float],
    image: NDArray[np.float32] | None = None,
) -> Iterator[tuple[float, NDArray[np.uint64]]]:
    """Each threshold with the segmentation that `segment_array` gives at it; agglomerated once.

    Parameters
    ----------
    affinities, offsets
        As for `segment_array`.
    settings
        How to segment; its own threshold is not used.
    thresholds
        In the order in which they are wanted.
    image
        As for `segment_array`.
    """
    fragments, graph = fragment_graph(affinities, offsets, settings, image)
    count = int(fragments.max(initial=0))
    sizes = np.bincount(fragments.ravel().astype(np.int64), minlength=count + 1)
    tree = agglomerate(graph, count, settings.linkage, float(min(thresholds)))
    for threshold in map(float, thresholds):
        labels = relabel(fragments, drop_small(tree.lut(threshold), sizes, settings.min_object))
        yield threshold, outlined(labels, affinities, (0, 0, 0), settings.outline)


def fragment_graph(
    affinities: NDArray[np.uint8],
    offsets: Sequence[IntTriple],
    settings: SegmentationSettings,
    image: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.uint64], RegionGraph]:
    """Fragments and region graph of a whole array, from which any threshold can be tried.

    Raises
    ------
    InputError
        The settings have a grey penalty, and there is no image.
    """
    if settings.grey_penalty and image is None:
        raise InputError("segmentation: a grey_penalty needs the image that the affinities are of.")
    z, y, x = affinities.shape[1:]
    box = (slice(0, z), slice(0, y), slice(0, x))
    found = block_fragments(affinities, offsets, box, (0, 0, 0), (z, y, x), settings)
    number = len(found.keys)
    names = resolve([(number, found.keys, found.sizes)], np.zeros((0, 2), np.int64))
    grey = None
    if settings.grey_penalty and image is not None:
        grey = np.zeros((int(names.max(initial=0)) + 1, 2), np.int64)
        grey_there = block_grey(found.labels, number, image, affinities, (0, 0, 0), settings)
        np.add.at(grey, names.view(np.int64), grey_there)
    used = offsets if settings.long_range else offsets[:3]
    edges = block_edges(
        found.labels.astype(np.int64) - 1,
        affinities[: len(used)],
        used,
        box,
        with_histogram=settings.linkage in PERCENTS,
    )
    graph = merge_edges([edges], names, grey, settings.grey_penalty)
    return relabel(found.labels, np.concatenate((np.zeros(1, np.uint64), names))), graph
