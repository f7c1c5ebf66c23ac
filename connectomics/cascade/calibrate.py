"""From labelled volumes to a cascade file: score every chunk, choose thresholds, measure rates and times."""

from collections.abc import Sequence

import numpy as np

from connectomics.blockwise.progress import Progress
from connectomics.cascade.calibration import Chosen, Scored, choose_thresholds
from connectomics.cascade.chunks import coarsened, counts, refined
from connectomics.cascade.detectors import GROUP, scorer, scores_of
from connectomics.cascade.labelled import Labelled, labelled_volumes
from connectomics.cascade.settings import (
    CalibrationSettings,
    Cascade,
    CascadeLevel,
)
from connectomics.cascade.timing import detector_seconds, fine_costs
from connectomics.errors import InputError
from connectomics.inference.settings import InferenceSettings

LOWEST = -1e30
"""Stands for minus infinity in a cascade file: JSON has none."""


def calibrate(settings: CalibrationSettings, inference: InferenceSettings, progress: Progress) -> Cascade:
    """Calibrate a cascade.

    Parameters
    ----------
    settings
        Detectors, promise and data.
    inference
        How networks run.
    progress
        Told of the volumes.

    Returns
    -------
    Cascade
        Write its JSON to a file to use it.

    Raises
    ------
    InputError
        There are too few volumes or objects for the promise, or they cannot be read.
    """
    total = len(settings.volumes) + sum(one.count for one in settings.phantoms)
    progress.start("calibrate", total, 0)
    volumes: list[Scored] = []
    for given in labelled_volumes(settings):
        volumes.append(score_volume(given, settings, inference))
        progress.advance("calibrate")
    progress.finish("calibrate")
    design, proof = _split(volumes, settings.design_share)
    costs = [
        detector_seconds(detector, settings.voxel_size, settings.chunk, inference)
        for detector in settings.levels
    ]
    fine, dense, peak = fine_costs(settings, inference)
    chosen = choose_thresholds(design, proof, costs, fine, settings.promise)
    return Cascade(
        name=settings.name,
        description=settings.description,
        modality=settings.modality,
        voxel_size=settings.voxel_size,
        chunk=settings.chunk,
        levels=_levels(settings, chosen, volumes, costs),
        fine_model=settings.fine_model,
        fine_seconds=fine,
        dense_seconds=dense,
        fine_bytes=peak,
        promise=settings.promise,
        objects=chosen.objects,
        lost=chosen.lost,
    )


def _levels(
    settings: CalibrationSettings, chosen: Chosen, volumes: Sequence[Scored], costs: Sequence[float]
) -> tuple[CascadeLevel, ...]:
    found = zip(
        settings.levels, chosen.thresholds, measured_rates(volumes, chosen.thresholds), costs, strict=True
    )
    return tuple(
        CascadeLevel(
            detector=detector,
            threshold=max(threshold, LOWEST),
            sensitivity=sensitivity,
            false_positive_rate=false_positive,
            seconds=cost,
        )
        for detector, threshold, (sensitivity, false_positive), cost in found
    )


def measured_rates(volumes: Sequence[Scored], thresholds: Sequence[float]) -> list[tuple[float, float]]:
    """Sensitivity and false-positive rate of each coarse level, over the chunks that it is called on.

    A level that is called on no chunk with truth, or none without, has lost or passed nothing: 1 and 0.
    """
    passed = np.zeros((len(thresholds), 2))
    called = np.zeros((len(thresholds), 2))
    for volume in volumes:
        here = np.ones(volume.scores[-1].shape, bool)
        for level in reversed(range(len(thresholds))):
            truth = volume.truth(volume.factors[level])
            through = here & (volume.scores[level] >= thresholds[level])
            for column, kind in enumerate((truth, ~truth)):
                called[level, column] += (here & kind).sum()
                passed[level, column] += (through & kind).sum()
            if level:
                ratio = [
                    a // b for a, b in zip(volume.factors[level], volume.factors[level - 1], strict=True)
                ]
                here = refined(through, ratio, volume.scores[level - 1].shape)
    return [
        (float(p[0] / c[0]) if c[0] else 1.0, float(p[1] / c[1]) if c[1] else 0.0)
        for p, c in zip(passed, called, strict=True)
    ]


def _split(volumes: Sequence[Scored], share: float) -> tuple[list[Scored], list[Scored]]:
    """Every so-manieth volume that holds objects is for design; empty ones, which only cost, too."""
    full = [volume for volume in volumes if len(volume.objects)]
    if len(full) < 2:
        raise InputError(
            f"cascade: {len(full)} of {len(volumes)} volumes hold objects; it takes two at the least: one to "
            "weigh the levels on, one to test the promise on."
        )
    number = min(len(full) - 1, max(1, round(share * len(full))))
    places = {round(i * len(full) / number) for i in range(number)}
    design = [volume for i, volume in enumerate(full) if i in places]
    proof = [volume for i, volume in enumerate(full) if i not in places]
    return design + [volume for volume in volumes if not len(volume.objects)], proof


def score_volume(given: Labelled, settings: CalibrationSettings, inference: InferenceSettings) -> Scored:
    """Scores of every chunk of every level of a volume."""
    scores, factors = [], []
    for level, detector in zip(given.levels, settings.levels, strict=True):
        score = scorer(detector, level.volume, settings.chunk, inference)
        z, y, x = counts(given.shape, level.factor)
        there = level.counts(settings.chunk)
        slabs = (slice(a, min(a + GROUP, z)) for a in range(0, z, GROUP))
        found = [scores_of(score, (slab, slice(0, y), slice(0, x)), there) for slab in slabs]
        scores.append(np.concatenate(found))
        factors.append(level.factor)
    return Scored(scores, factors, given.objects, given.shape)


def prevalences(volumes: Sequence[Scored]) -> tuple[float, ...]:
    """Share of chunks with truth at each level, the finest level first, over all volumes."""
    found = []
    for level in range(-1, len(volumes[0].factors)):
        maps = [v.truth() if level < 0 else coarsened(v.truth(), v.factors[level]) for v in volumes]
        found.append(float(sum(m.sum() for m in maps) / sum(m.size for m in maps)))
    return tuple(found)
