"""What calls of a cascade cost on this machine: those of its detectors and of the finest network."""

import logging
import math
import time

import numpy as np

from connectomics.cascade.detectors import GROUP, scorer
from connectomics.cascade.levels import level_factor, tile_edge
from connectomics.cascade.settings import CalibrationSettings, Detector
from connectomics.inference.settings import InferenceSettings
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple, Triple

log = logging.getLogger(__name__)


def detector_seconds(
    detector: Detector, voxel_size: Triple, chunk: IntTriple, inference: InferenceSettings
) -> float:
    """Seconds that a chunk of a coarse level takes here, in the midst of a volume, reading apart.

    Parameters
    ----------
    detector
        What looks.
    voxel_size
        Of the finest level, nm, zyx.
    chunk
        Voxels of a chunk.
    inference
        How networks run.

    Returns
    -------
    float
        The median of three, after one that compiles.
    """
    factor = _factor(voxel_size, chunk, detector.level)
    z, y, x = (v * f for v, f in zip(voxel_size, factor, strict=True))
    noise = np.random.default_rng(0).integers(0, 255, [3 * GROUP * c for c in chunk], np.uint8)
    volume = Volume(noise, (z, y, x), (0.0, 0.0, 0.0), "noise")
    score = scorer(detector, volume, chunk, inference)
    middle = (slice(GROUP, 2 * GROUP),) * 3
    score(middle)  # compiles
    times = []
    for _ in range(3):
        began = time.perf_counter()
        score(middle)
        times.append(time.perf_counter() - began)
    return sorted(times)[1] / GROUP**3


def fine_costs(settings: CalibrationSettings, inference: InferenceSettings) -> tuple[float, float, float]:
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
    core = tile_edge(settings.chunk, _factor(settings.voxel_size, settings.chunk, settings.levels[0].level))
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


def _factor(voxel_size: Triple, chunk: IntTriple, level: int) -> IntTriple:
    """Finest voxels in a voxel of a level of a volume that has it."""
    shape = tuple(c * 2 ** (level + 1) for c in chunk)
    blank = Volume(np.broadcast_to(np.uint8(0), shape), voxel_size, (0.0, 0.0, 0.0), "tile")
    return level_factor(blank, level)
