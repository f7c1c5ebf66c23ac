"""Pseudo labels: fragments of the network's own prediction, named by the skeletons that touch them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from connectomics.affinities import pair_slices
from connectomics.roi import IntTriple
from connectomics.segmentation.agglomeration import agglomerate
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import fragment_graph
from connectomics.training.sources import Labels
from connectomics.training.targets import erode_borders
from connectomics.training.traces import CONTESTED

UNKNOWN = -1
_CERTAIN_BORDER = 26
"""Affinities (of 255) all below this: the network is sure that there is no object here."""


def pseudo_labels(
    affinities: NDArray[np.uint8],
    offsets: Sequence[IntTriple],
    traces: Labels,
    settings: SegmentationSettings,
    image: NDArray[np.float32] | None = None,
    thresholds: Sequence[float] = (0.9, 0.8, 0.7, 0.6, 0.5),
    certainty: float = 0.7,
) -> NDArray[np.int32]:
    """Name what the network found by the skeletons that run through it.

    A fragment touched by exactly one skeleton takes its number, one touched by two stays unknown. Then
    the fragments are merged down to one threshold after another: fragments without a name that end up in a
    segment with one name take it; segments with two names stay as they were. Fragments cover myelin and
    borders, too, so what is named and the network would not connect is unknown in the end.

    Parameters
    ----------
    affinities
        (c, z, y, x) uint8, nearest neighbours first.
    offsets
        Of each channel.
    traces
        (z, y, x) from `draw_traces`.
    settings
        How to make fragments, and the linkage.
    image
        See `segment_array`.
    thresholds
        From certain to less so.
    certainty
        Voxels with a smaller affinity to a neighbour of the same name become unknown, but for those beside
        another name; 0: none.

    Returns
    -------
    ndarray of int32, (z, y, x)
        Numbers of the skeletons; 0 where the network is sure of a border, -1 = unknown.
    """
    fragments, graph = fragment_graph(affinities, offsets, settings, image)
    count = int(fragments.max(initial=0))
    touched = np.unique(np.stack((fragments[traces > 0].astype(np.int64), traces[traces > 0])), axis=1)
    names = np.zeros(count + 1, np.int64)
    names[touched[0]] = touched[1]
    fragment, often = np.unique(touched[0], return_counts=True)
    torn = np.zeros(count + 1, bool)
    torn[fragment[often > 1]] = True
    torn[fragments[traces == CONTESTED].astype(np.int64)] = True
    names[torn], names[0] = 0, 0
    tree = agglomerate(graph, count, settings.linkage, min(thresholds))
    for threshold in thresholds:
        names = _spread(names, torn, tree.lut(threshold).astype(np.int64))
    labels = np.where(names > 0, names, UNKNOWN)[fragments.astype(np.int64)].astype(np.int32)
    if certainty:
        labels[_doubtful(labels, affinities, offsets[:3], certainty)] = UNKNOWN
    labels[(labels < 0) & (affinities[:3] < _CERTAIN_BORDER).all(axis=0)] = 0
    return labels


def _doubtful(
    labels: NDArray[np.int32], affinities: NDArray[np.uint8], offsets: Sequence[IntTriple], certainty: float
) -> NDArray[np.bool_]:
    """Voxels that the network hardly connects to a neighbour of the same name, away from other names."""
    doubtful = np.zeros(labels.shape, bool)
    for channel, offset in zip(affinities, offsets, strict=False):
        here, there = pair_slices(offset)
        weak = (channel[here] < 255 * certainty) & (labels[here] == labels[there]) & (labels[here] > 0)
        doubtful[here] |= weak
        doubtful[there] |= weak
    beside_another = erode_borders(torch.from_numpy(labels), 1).numpy() != labels
    return doubtful & ~beside_another


def _spread(
    names: NDArray[np.int64], torn: NDArray[np.bool_], segments: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give nameless fragments the name of their segment, where it has exactly one and no torn fragment."""
    count = int(segments.max(initial=0)) + 1
    largest, smallest = np.zeros(count, np.int64), np.full(count, np.iinfo(np.int64).max)
    named = names > 0
    np.maximum.at(largest, segments[named], names[named])
    np.minimum.at(smallest, segments[named], names[named])
    sound = largest == smallest
    sound[segments[torn]] = False
    sound[0] = False
    return np.where(~named & ~torn & sound[segments], largest[segments], names)
