"""How much run length wrong merges and splits of a segmentation would cost, as far as they are likely."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from connectomics.roi import Triple
from connectomics.segmentation.agglomeration import agglomerate
from connectomics.segmentation.calibration import Calibration
from connectomics.segmentation.edge_features import Surroundings, edge_features
from connectomics.segmentation.heights import outlined
from connectomics.segmentation.region_graph import RegionGraph
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.uncertainty import calibrated_edge_uncertainty, edge_uncertainty
from connectomics.segmentation.whole import fragment_graph

Floats = NDArray[np.float64]


def object_lengths(labels: NDArray[np.integer], voxel_size: Triple) -> Floats:
    """Length of each object along its main axis, nm, as of a rod with the same spread of voxels.

    Parameters
    ----------
    labels
        (z, y, x), 0 = background.
    voxel_size
        nm, zyx.

    Returns
    -------
    ndarray, (labels + 1,)
        0 for the background and for numbers that do not occur; never less than the longest voxel edge else.
    """
    flat = labels.ravel().astype(np.int64)
    inside = np.flatnonzero(flat)
    number, count = flat[inside], int(flat.max(initial=0)) + 1
    voxels = np.bincount(number, minlength=count)
    places = np.stack(np.unravel_index(inside, labels.shape), 1) * np.asarray(voxel_size)
    many = np.maximum(voxels, 1)
    mean = np.stack([np.bincount(number, axis, count) / many for axis in places.T], 1)
    spread = np.empty((count, 3, 3))
    for i in range(3):
        for j in range(i, 3):
            product = np.bincount(number, places[:, i] * places[:, j], count) / many
            spread[:, i, j] = spread[:, j, i] = product - mean[:, i] * mean[:, j]
    largest = np.maximum(np.linalg.eigvalsh(spread)[:, -1], 0)
    lengths = np.maximum(np.sqrt(12 * largest), max(voxel_size))
    return np.where((voxels > 0) & (np.arange(count) > 0), lengths, 0.0)


def run_length_at_stake(
    edges: NDArray[np.integer], doubt: NDArray[np.floating], segment: NDArray[np.integer], lengths: Floats
) -> float:
    """How much run length would change, in expectation, were each doubtful decision made right.

    A merge that is wrong costs the whole segment (its squared length counts for nothing); a split that is
    wrong costs twice the product of the two lengths. Of several edges between the same two segments, and of
    those within one, the most doubtful decides: their errors are not independent.

    Parameters
    ----------
    edges
        (e, 2) fragments.
    doubt
        (e,) probability that the decision on the edge is wrong.
    segment
        (fragments + 1,) segment of each fragment.
    lengths
        (segments + 1,) nm; 0 for what does not count.

    Returns
    -------
    float
        nm: run length at stake. 0 where nothing has a length.
    """
    total = float(lengths.sum())
    if total == 0 or not len(edges):
        return 0.0
    ends = np.sort(segment[edges.astype(np.int64)].astype(np.int64), axis=1)
    key, inverse = np.unique(ends[:, 0] * len(lengths) + ends[:, 1], return_inverse=True)
    most = np.zeros(len(key))
    np.maximum.at(most, inverse, doubt)
    a, b = np.divmod(key, len(lengths))
    cost = np.where(a == b, lengths[a] ** 2, 2 * lengths[a] * lengths[b])
    return float((most * cost).sum() / total)


def crop_at_stake(
    affinities: NDArray[np.uint8],
    offsets: Sequence[tuple[int, int, int]],
    voxel_size: Triple,
    segmentation: SegmentationSettings,
    calibration: Calibration,
    image: NDArray[np.float32] | None = None,
) -> tuple[float, NDArray[np.uint64]]:
    """Run length at stake in a crop, nm, and its segmentation.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, nearest neighbours first.
    offsets, voxel_size
        What the channels mean, voxels; nm.
    segmentation, calibration
        The model's.
    image
        See `segment_array`.
    """
    fragments, graph = fragment_graph(affinities, offsets, segmentation, image)
    count = int(fragments.max(initial=0))
    lut = agglomerate(graph, count, segmentation.linkage, segmentation.threshold).lut(segmentation.threshold)
    labels = lut[fragments.astype(np.int64)]
    sizes = np.bincount(fragments.ravel().astype(np.int64), minlength=count + 1)
    doubt = _doubt(graph, sizes, lut, segmentation, calibration)
    lengths = object_lengths(labels, voxel_size)
    lengths = np.pad(lengths, (0, max(0, int(lut.max(initial=0)) + 1 - len(lengths))))
    stake = run_length_at_stake(graph.edges, doubt, lut, lengths)
    return stake, outlined(labels, affinities, (0, 0, 0), segmentation.outline)


def _doubt(
    graph: RegionGraph,
    sizes: NDArray[np.int64],
    lut: NDArray[np.uint64],
    segmentation: SegmentationSettings,
    calibration: Calibration,
) -> NDArray[np.float32]:
    if calibration.edges is None:
        return edge_uncertainty(np.maximum(0, graph.mean - graph.penalty), segmentation.threshold)
    around = Surroundings(sizes, lut)
    around.add(graph.edges, graph.mean, graph.size)
    features = edge_features(graph.edges, graph.mean, graph.std, graph.size, around, graph.penalty)
    return calibrated_edge_uncertainty(features, calibration.edges)
