"""Validation: predict held-out volumes with the averaged weights, segment them, and compare by VOI."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from connectomics.roi import IntTriple
from connectomics.training.sources import Source
from connectomics.training.targets import affinity_targets

_log = logging.getLogger(__name__)

Scores = dict[str, float]


def predict_source(
    network: nn.Module, source: Source, divisor: IntTriple, channels: int, tile: int = 160, margin: int = 24
) -> NDArray[np.uint8]:
    """Affinities of a source's scored part.

    Parameters
    ----------
    network
        In evaluation mode, on the source's device.
    source
        Image and normalisation.
    divisor
        Multiple that tile edges must be of.
    channels
        How many of the first output channels to keep.
    tile, margin
        Edge of a tile's core, and context around it, voxels.

    Returns
    -------
    NDArray
        (channels, z, y, x) uint8 = round(255 p).
    """
    shape = source.raw.shape
    result = np.zeros((channels, *shape), np.uint8)
    starts = [range(0, n, tile) for n in shape]
    for core in np.ndindex(*(len(s) for s in starts)):
        low = [s[i] for s, i in zip(starts, core, strict=True)]
        high = [min(a + tile, n) for a, n in zip(low, shape, strict=True)]
        outer_low = [max(0, (a - margin) // d * d) for a, d in zip(low, divisor, strict=True)]
        outer_high = [min(n, b + margin) for b, n in zip(high, shape, strict=True)]
        raw = source.raw[tuple(slice(a, b) for a, b in zip(outer_low, outer_high, strict=True))]
        output = _probabilities(network, (raw.float() - source.mean) / source.std, divisor, channels)
        inner = [slice(a - o, b - o) for a, b, o in zip(low, high, outer_low, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        result[(slice(None), *box)] = output[(slice(None), *inner)].cpu().numpy()
    return result[(slice(None), *source.score)]


def _probabilities(
    network: nn.Module, image: torch.Tensor, divisor: IntTriple, channels: int
) -> torch.Tensor:
    lacking = [-n % d for n, d in zip(image.shape, divisor, strict=True)]
    padding = [p for n in reversed(lacking) for p in (0, n)]
    padded = functional.pad(image[None, None], padding, mode="replicate")
    padded = padded.contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode(), torch.autocast(image.device.type, torch.bfloat16, image.is_cuda):
        logits = network(padded)[0, :channels]
    return (torch.sigmoid(logits.float()) * 255).round().to(torch.uint8)


def voxel_scores(affinities: NDArray[np.uint8], source: Source, offsets: Sequence[IntTriple]) -> Scores:
    """Voxel by voxel: (sensitivity + specificity) / 2 of the affinities, averaged over channels."""
    labels = source.labels[source.score].cpu()
    truth, known = (v[0].numpy() for v in affinity_targets(labels[None], offsets))
    values = []
    for channel in range(len(offsets)):
        said = affinities[channel][known[channel]] > 127
        same = truth[channel][known[channel]] > 0
        if same.any() and not same.all():
            values.append((said[same].mean() + (~said[~same]).mean()) / 2)
    return {"balanced_accuracy": float(np.mean(values))} if values else {}


def segmentation_scores(
    affinities: Sequence[NDArray[np.uint8]],
    sources: Sequence[Source],
    offsets: Sequence[IntTriple],
    segmentation: dict[str, Any],
    thresholds: Sequence[float],
) -> Scores:
    """Mean VOI of the sources' segmentations at the best of several thresholds; else empty.

    Voxels whose truth is background or unlabelled are left out.
    """
    try:
        found = [
            _vois(channels, source, offsets, segmentation, thresholds)
            for channels, source in zip(affinities, sources, strict=True)
            if (source.labels[source.score] > 0).any()
        ]
    except ImportError as error:
        _log.warning("validation without segmentation: %s", error)
        return {}
    if not found:
        return {}
    means = np.mean(found, axis=0)  # each on its own: the numbers of segments mean nothing across volumes
    best = int(np.argmin(means[:, 2]))
    split, merge, total = (float(value) for value in means[best])
    return {"voi_split": split, "voi_merge": merge, "voi_sum": total, "threshold": thresholds[best]}


def _vois(
    affinities: NDArray[np.uint8],
    source: Source,
    offsets: Sequence[IntTriple],
    values: dict[str, Any],
    thresholds: Sequence[float],
) -> NDArray[np.float64]:
    """(thresholds, 3) split, merge and their sum."""
    from connectomics.evaluation.volumes import VoiTable
    from connectomics.segmentation.settings import SegmentationSettings
    from connectomics.segmentation.whole import at_thresholds

    settings = SegmentationSettings.parse(values | {"outline": 0.0})  # what belongs together is judged
    truth = source.labels[source.score].cpu().numpy().clip(0).astype(np.uint64)
    rows = []
    image = source.normalised(source.score) if settings.grey_penalty else None
    for _, labels in at_thresholds(affinities, offsets, settings, thresholds, image):
        table = VoiTable()
        table.add(labels, truth)
        scores = table.scores()
        rows.append([scores[name] for name in ("voi_split", "voi_merge", "voi_sum")])
    return np.array(rows, np.float64)


def validate(
    network: nn.Module,
    sources: Sequence[Source],
    divisor: IntTriple,
    offsets: Sequence[IntTriple],
    segmentation: dict[str, Any],
    thresholds: Sequence[float],
) -> Scores:
    """Scores of a network on held-out sources.

    Returns
    -------
    dict
        balanced_accuracy; and, where the segmentation is at hand, voi_split, voi_merge, voi_sum, threshold.
    """
    if not sources:
        return {}
    affinities = [predict_source(network, source, divisor, len(offsets)) for source in sources]
    rows = [voxel_scores(a, s, offsets) for a, s in zip(affinities, sources, strict=True)]
    values = [row["balanced_accuracy"] for row in rows if row]
    scores = {"balanced_accuracy": float(np.mean(values))} if values else {}
    return scores | segmentation_scores(affinities, sources, offsets, segmentation, thresholds)
