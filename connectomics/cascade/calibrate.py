"""From labelled volumes to a cascade file: score every chunk, choose thresholds, measure rates and times."""

import logging
import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.progress import Progress
from connectomics.cascade.calibration import Chosen, Scored, choose_thresholds
from connectomics.cascade.chunks import coarsened, counts, refined
from connectomics.cascade.detectors import GROUP, scorer
from connectomics.cascade.labelled import Labelled, labelled_volumes
from connectomics.cascade.levels import level_factor, tile_edge
from connectomics.cascade.settings import (
    CalibrationSettings,
    Cascade,
    CascadeLevel,
    Detector,
)
from connectomics.errors import InputError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple

log = logging.getLogger(__name__)

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
    costs = [_detector_seconds(settings, detector, inference) for detector in settings.levels]
    fine, dense, peak = _fine_costs(settings, inference)
    chosen = choose_thresholds(design, proof, costs, fine, settings.promise)
    return Cascade(
        name=settings.name,
        description=settings.description,
        modality=settings.modality,
        voxel_size=settings.voxel_size,
        chunk=settings.chunk,
        levels=_levels(settings, chosen, volumes, costs),
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
        z, y, x = level.counts(settings.chunk)
        slabs = (slice(a, min(a + GROUP, z)) for a in range(0, z, GROUP))
        found = np.concatenate([score((slab, slice(0, y), slice(0, x))) for slab in slabs])
        scores.append(fitted(found, counts(given.shape, level.factor)))
        factors.append(level.factor)
    return Scored(scores, factors, given.objects, given.shape)


def _detector_seconds(
    settings: CalibrationSettings, detector: Detector, inference: InferenceSettings
) -> float:
    """Seconds a chunk of a coarse level takes in the midst of a volume, reading apart; median of three."""
    factor = _factor(settings, detector.level)
    z, y, x = (v * f for v, f in zip(settings.voxel_size, factor, strict=True))
    noise = np.random.default_rng(0).integers(0, 255, [3 * GROUP * c for c in settings.chunk], np.uint8)
    volume = Volume(noise, (z, y, x), (0.0, 0.0, 0.0), "noise")
    score = scorer(detector, volume, settings.chunk, inference)
    middle = (slice(GROUP, 2 * GROUP),) * 3
    score(middle)  # compiles
    times = []
    for _ in range(3):
        began = time.perf_counter()
        score(middle)
        times.append(time.perf_counter() - began)
    return sorted(times)[1] / GROUP**3


def fitted(scores: NDArray[np.float32], wanted: IntTriple) -> NDArray[np.float32]:
    """Scores for all chunks: where a level lacks a volume's last, cut voxels, the neighbour's stand in."""
    lacking = [(0, max(0, w - n)) for w, n in zip(wanted, scores.shape, strict=True)]
    padded = np.pad(scores, lacking, mode="edge")
    result: NDArray[np.float32] = padded[tuple(slice(0, w) for w in wanted)]
    return result


def _fine_costs(settings: CalibrationSettings, inference: InferenceSettings) -> tuple[float, float, float]:
    """Seconds a chunk in a cascade, and where everything is computed; peak bytes."""
    if settings.fine_model is None:
        fine = settings.fine_seconds or 0.0
        return fine, settings.dense_seconds or fine, 0.0
    from connectomics.inference.predictor import predictor_for
    from connectomics.networks.models import find_model

    model = find_model(settings.fine_model)
    random = np.random.default_rng(0)
    edges = [max(256, 4 * c) for c in settings.chunk]
    noise = random.integers(0, 255, edges, np.uint8)
    read = noise.__getitem__
    # the core of a cascade's tile: a chunk of its finest coarse level
    core = tile_edge(settings.chunk, _factor(settings, settings.levels[0].level))
    found = []
    for tile in (core, None):
        predictor = predictor_for(model, inference.model_copy(update={"tile": tile}), read, edges)
        lattice = predictor.lattice(edges)
        z, y, x = (slice(0, min(n, c)) for n, c in zip(edges, lattice.core, strict=True))
        predictor.predict_box(read, edges, (z, y, x))  # compiles
        times = []
        for _ in range(3):
            began = time.perf_counter()
            predictor.predict_box(read, edges, (z, y, x))
            times.append(time.perf_counter() - began)
        chunks = math.prod((s.stop - s.start) / c for s, c in zip((z, y, x), settings.chunk, strict=True))
        found.append((sorted(times)[1] / chunks, float(predictor.peak_bytes(edges))))
    log.info(
        "finest level: %.3g s a chunk in a cascade, %.3g s where all is computed", found[0][0], found[1][0]
    )
    return found[0][0], found[1][0], found[0][1]


def _factor(settings: CalibrationSettings, level: int) -> IntTriple:
    """Finest voxels in a voxel of a level of a volume that has it."""
    shape = tuple(c * 2 ** (level + 1) for c in settings.chunk)
    blank = Volume(np.broadcast_to(np.uint8(0), shape), settings.voxel_size, (0.0, 0.0, 0.0), "tile")
    return level_factor(blank, level)


def prevalences(volumes: Sequence[Scored]) -> tuple[float, ...]:
    """Share of chunks with truth at each level, the finest level first, over all volumes."""
    found = []
    for level in range(-1, len(volumes[0].factors)):
        maps = [v.truth() if level < 0 else coarsened(v.truth(), v.factors[level]) for v in volumes]
        found.append(float(sum(m.sum() for m in maps) / sum(m.size for m in maps)))
    return tuple(found)
