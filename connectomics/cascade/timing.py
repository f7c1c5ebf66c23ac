"""What calls of a cascade cost on this machine: those of its detectors and of the finest network."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from connectomics.cascade.detectors import GROUP, Box, scorer
from connectomics.cascade.levels import level_factor, tile_edge
from connectomics.cascade.settings import CalibrationSettings, Cascade, Detector
from connectomics.cascade.tree import ChunkTree
from connectomics.errors import ModelError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import create_array, create_group
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple, Triple, int_triple

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
    # the core of a cascade's tile: a chunk of its finest coarse level
    core = tile_edge(settings.chunk, _factor(settings.voxel_size, settings.chunk, settings.levels[0].level))
    fine, _, peak = network_seconds(settings.fine_model, settings.chunk, core, inference)
    dense, _, _ = network_seconds(settings.fine_model, settings.chunk, None, inference)
    log.info("finest level: %.3g s a chunk in a cascade, %.3g s where all is computed", fine, dense)
    return fine, dense, peak


def network_seconds(
    name: str, chunk: IntTriple, core: int | None, inference: InferenceSettings
) -> tuple[float, float, float]:
    """What a network takes here: seconds a chunk, writing included; once, to compile; peak bytes.

    Parameters
    ----------
    name
        Of the model.
    chunk
        Voxels of a chunk.
    core
        Edge of its tiles, voxels; None: the best for a whole volume.
    inference
        How it runs.
    """
    from connectomics.inference.predictor import predictor_for
    from connectomics.networks.models import find_model

    edges = int_triple([max(256, 4 * c) for c in chunk])
    read = np.random.default_rng(0).integers(0, 255, edges, np.uint8).__getitem__
    predictor = predictor_for(find_model(name), inference.model_copy(update={"tile": core}), read, edges)
    boxes = [tile.core for tile in predictor.lattice(edges).tiles()][-8:]
    with TemporaryDirectory(prefix="connectomics-") as folder:
        create_group(Path(folder) / "out.zarr")
        out = create_array(
            Path(folder) / "out.zarr",
            "affinities",
            shape=(predictor.channels, *edges),
            dtype=predictor.form.dtype,
            chunks=(64, 64, 64),
            voxel_size=(1.0, 1.0, 1.0),
            offset=(0.0, 0.0, 0.0),
        )
        failures: list[Exception] = []

        def stream(some: Sequence[Box]) -> float:
            began = time.perf_counter()
            predictor.stream(
                read, edges, some, lambda i, v: out.write_box(some[i], v), lambda _, e: failures.append(e)
            )
            return time.perf_counter() - began

        start = stream(boxes[:1])  # compiles
        seconds = stream(boxes)
    if failures:
        raise failures[0]
    voxels = sum(math.prod(s.stop - s.start for s in box) for box in boxes)
    start = max(0.0, start - seconds / len(boxes))
    return seconds * math.prod(chunk) / voxels, start, float(predictor.peak_bytes(edges))


@dataclass(frozen=True)
class Costs:
    """Seconds that calls of a cascade take on one machine.

    Attributes
    ----------
    fine, dense : float
        A chunk of the finest level in a cascade, and where everything is computed.
    detectors : tuple of float
        A chunk of each coarse level, the finest first.
    start : float
        What the finest network takes once, to be compiled.
    """

    fine: float
    dense: float
    detectors: tuple[float, ...]
    start: float = 0.0


def recorded_costs(cascade: Cascade) -> Costs:
    """What calls took where the cascade was calibrated."""
    return Costs(cascade.fine_seconds, cascade.dense_seconds, tuple(one.seconds for one in cascade.levels))


def measured_costs(cascade: Cascade, inference: InferenceSettings, tree: ChunkTree) -> Costs:
    """What calls take on this machine, those of the detectors on a volume as it is read.

    Where the finest network is not known, it is taken to be slower than where the cascade was calibrated as
    much as its coarsest detector is.

    Parameters
    ----------
    cascade
        What would run.
    inference
        How networks would run.
    tree
        The volume's chunks.
    """
    size, chunk = cascade.voxel_size, cascade.chunk
    there, start = recorded_costs(cascade), 0.0
    if cascade.fine_model is None:
        slowness = _slowness(cascade, inference)
    else:
        core = tile_edge(chunk, _factor(size, chunk, cascade.levels[0].detector.level))
        try:
            fine, start, _ = network_seconds(cascade.fine_model, chunk, core, inference)
            slowness = fine / there.fine
        except ModelError:
            log.warning(
                "model '%s' is not here: its time is guessed from that of the detectors", cascade.fine_model
            )
            slowness = _slowness(cascade, inference)
    here = tuple(tree.seconds(level) for level in range(len(cascade.levels)))
    return Costs(slowness * there.fine, slowness * there.dense, here, start)


def _slowness(cascade: Cascade, inference: InferenceSettings) -> float:
    """Seconds that the coarsest detector takes over those it took where the cascade was calibrated."""
    last = cascade.levels[-1]
    here = detector_seconds(last.detector, cascade.voxel_size, cascade.chunk, inference)
    return here / last.seconds if last.seconds else 1.0


def _factor(voxel_size: Triple, chunk: IntTriple, level: int) -> IntTriple:
    """Finest voxels in a voxel of a level of a volume that has it."""
    shape = tuple(c * 2 ** (level + 1) for c in chunk)
    blank = Volume(np.broadcast_to(np.uint8(0), shape), voxel_size, (0.0, 0.0, 0.0), "tile")
    return level_factor(blank, level)
