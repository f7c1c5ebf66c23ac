"""What a volume's truth is made of: painted voxels, skeletons, or both, as sources of crops."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from connectomics.errors import InputError
from connectomics.io.skeletons import Skeletons
from connectomics.roi import Triple
from connectomics.training.crops import bounds
from connectomics.training.paint_over import paint_over
from connectomics.training.settings import TruthSettings
from connectomics.training.sources import UNLABELLED, Labels, Source
from connectomics.training.traces import draw_traces
from connectomics.training.tubes import draw_tubes

_LEAST_PAINTED, _MOST_PAINTED = 0.1, 0.5
"""Of a volume's crops, where nobody says; with 2% painted, half did worse (data/supervision.json)."""

_REACH = 160
"""Voxels around painted ones that are kept."""


def with_skeletons(
    painted: Source, skeletons: Skeletons, offset: Triple, voxel_size: Triple, settings: TruthSettings
) -> list[Source]:
    """The sources of a volume with skeletons: one for its painted voxels, if any, and one for the rest.

    Parameters
    ----------
    painted
        The image with what is painted of it; nothing else than -1 where nobody painted anything.
    skeletons
        Nodes in nm of the world; nodes outside the volume are left out.
    offset, voxel_size
        Where the volume lies, nm zyx.
    settings
        What to make of skeletons.

    Raises
    ------
    InputError
        No skeleton passes through the volume.
    """
    shape = painted.raw.shape
    traces = draw_traces(skeletons, offset, voxel_size, (shape[0], shape[1], shape[2]))
    if not (traces > 0).any():
        nodes = skeletons.nodes
        span = f"nodes {nodes.min(0).round()} to {nodes.max(0).round()}" if len(nodes) else "there is no node"
        raise InputError(
            "skeletons: none passes through the volume. Positions are nm (zyx) in the frame of the image: "
            f"it covers {tuple(offset)} + {tuple(n * s for n, s in zip(shape, voxel_size, strict=True))}, "
            f"{span}."
        )
    if settings.method == "points":
        labels = np.where(traces > 0, traces, traces.dtype.type(UNLABELLED))
    else:
        labels = draw_tubes(traces, painted.raw.numpy(), voxel_size, settings.radius, settings.reach)
    paint = float((painted.labels >= 0).float().mean())
    has_paint = paint > 0
    share = 0.0 if not has_paint else _painted_share(settings, paint)
    traced = replace(
        painted,
        labels=torch.from_numpy(labels),
        traces=traces,
        proportion=painted.proportion * (1 - share),
    )
    if not has_paint:
        return [traced]
    around = settings.method != "points"  # bare skeletons are known otherwise than painted objects
    return [_painted_part(painted, traced, share, around), traced]


def _painted_share(settings: TruthSettings, paint: float) -> float:
    share = settings.painted_share
    return min(_MOST_PAINTED, max(_LEAST_PAINTED, paint)) if share is None else share


def _painted_part(painted: Source, traced: Source, share: float, around: bool) -> Source:
    """Only what crops centred in the painted part can reach: it is small and the volume may be large.

    What skeletons gave `around` the paint is part of it, if wanted.
    """
    centres = bounds(painted.labels)
    box = tuple(
        slice(max(0, first - _REACH), min(n, last + _REACH))
        for (first, last), n in zip(centres, painted.labels.shape, strict=True)
    )
    inside = tuple((first - s.start, last - s.start) for (first, last), s in zip(centres, box, strict=True))
    labels, whole = painted.labels[box].clone(), (slice(None),) * 3
    if traced.traces is not None and around:
        merged = paint_over(traced.labels[box].numpy(), labels.numpy(), traced.traces[box])
        labels = torch.from_numpy(merged)
    return replace(
        painted,
        raw=painted.raw[box].clone(),
        labels=labels,
        proportion=painted.proportion * share,
        centres=inside,
        score=whole,
        part=True,
    )


def renewed(sources: Sequence[Source], found: Sequence[Labels], share: float) -> list[Source]:
    """Split each traced source: `share` of its crops get the labels `found` for it, the rest keep theirs."""
    result, labels = [], iter(found)
    for source in sources:
        if source.traces is None:
            result.append(source)
            continue
        new = replace(source, labels=torch.from_numpy(next(labels)).to(source.labels.device))
        result.append(replace(source, proportion=source.proportion * (1 - share)))
        result.append(replace(new, proportion=source.proportion * share))
    return result
