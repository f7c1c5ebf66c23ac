"""What a cascade will cost on a volume, from a sample of its coarsest chunks, before anything is run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.progress import Progress
from connectomics.cascade.settings import Cascade
from connectomics.cascade.timing import Costs, recorded_costs
from connectomics.cascade.tree import ChunkTree, Part
from connectomics.errors import InputError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.opening import open_volume

DRAWS = 4000
INTERVAL = (0.05, 0.95)
"""Quantiles of what the draws say: a 90% interval."""

SAMPLES = (32, 256)
"""Coarsest chunks that a run looks at before it decides whether its cascade pays: more if few leave doubt."""


@dataclass(frozen=True)
class LevelPlan:
    """Calls that one level is expected to take.

    Attributes
    ----------
    level : int
        Pyramid level; 0 is the finest.
    chunks : int
        Chunks that the level has.
    calls, calls_low, calls_high : float
        Expected calls, and a 90% interval.
    """

    level: int
    chunks: int
    calls: float
    calls_low: float
    calls_high: float


@dataclass(frozen=True)
class Plan:
    """What the network stage of a run is expected to take; see `plan_cascade`.

    Attributes
    ----------
    levels : tuple of LevelPlan
        Calls per level, the finest first.
    seconds, seconds_low, seconds_high : float
        Expected, and a 90% interval.
    single_level_seconds : float
        What it would take without a cascade.
    slowness : float
        Seconds that the finest network takes over those it took where the cascade was calibrated.
    gigabytes_read, gigabytes_written : float
        Chunks in and affinities out, before compression.
    peak_bytes : float
        Memory of the finest network.
    sampled, sampled_share
        Coarsest chunks that were looked at.
    pays : bool
        Whether the cascade is expected to take less than one level.
    """

    levels: tuple[LevelPlan, ...]
    seconds: float
    seconds_low: float
    seconds_high: float
    single_level_seconds: float
    slowness: float
    gigabytes_read: float
    gigabytes_written: float
    peak_bytes: float
    sampled: int
    sampled_share: float
    pays: bool

    @property
    def decided(self) -> bool:
        """Whether the sample leaves no doubt that it pays, or that it does not."""
        return self.seconds_high < self.single_level_seconds or self.seconds_low > self.single_level_seconds


def plan_cascade(
    part: Part,
    cascade: Cascade,
    inference: InferenceSettings,
    *,
    sample: int,
    seed: int,
    progress: Progress,
    costs: Costs | None = None,
) -> Plan:
    """Sample coarsest chunks of a volume or region, follow each down its levels, and project the calls.

    Chunks are drawn without replacement, each with the same probability, so the interval holds however
    objects cluster. What was not sampled is drawn DRAWS times from what the sample leaves open: the share
    that passes the coarsest level (Jeffreys' prior), and what those that pass cost below (Bayesian
    bootstrap; everything below them, where none passed).

    Parameters
    ----------
    part
        The volume, or a region of it.
    cascade
        What would run.
    inference
        How networks would run.
    sample
        Coarsest chunks to look at; all, where there are no more.
    seed
        Of the sample.
    progress
        Told of the chunks.
    costs
        Seconds a call; default: those that the cascade file has.
    """
    if sample < 8:
        raise InputError(f"--sample: at least 8 chunks say something of a volume, got {sample}.")
    finest = open_volume(part.location, part.voxel_size)
    check_voxel_size(cascade, finest.voxel_size, part.location)
    tree = ChunkTree(part, finest.shape, cascade, inference)
    top = math.prod(tree.shapes[-1])
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(top, min(sample, top), replace=False))
    progress.start("plan", len(chosen), 0)
    rows = []
    for number in chosen:
        rows.append(tree.follow(tree.coarsest(int(number))))
        progress.advance("plan")
    progress.finish("plan")
    draws = project(np.array(rows), top, tree.most, random)
    costs = costs or recorded_costs(cascade)
    return _plan(draws, tree, cascade, costs, finest.dtype.itemsize, len(chosen), top)


def decide(part: Part, cascade: Cascade, inference: InferenceSettings, progress: Progress) -> Plan:
    """Plan from as few chunks as tell whether the cascade pays: the same each time, so nothing is timed."""
    for sample in SAMPLES:
        plan = plan_cascade(part, cascade, inference, sample=sample, seed=0, progress=progress)
        if plan.decided:
            break
    return plan


def check_voxel_size(cascade: Cascade, voxel_size: Sequence[float], location: str) -> None:
    """Refuse a cascade that was calibrated at another voxel size."""
    if not np.allclose(cascade.voxel_size, voxel_size, rtol=0.1):
        raise InputError(
            f"{location}: voxel size {tuple(voxel_size)} nm, but cascade '{cascade.name}' was calibrated at "
            f"{cascade.voxel_size} nm: its thresholds mean nothing here. Calibrate one for this volume."
        )


def project(
    rows: NDArray[np.int64],
    population: int,
    most: Sequence[int],
    random: np.random.Generator,
    draws: int = DRAWS,
) -> NDArray[np.float64]:
    """Draws of the calls per level of a whole population, given a simple random sample of its members.

    Parameters
    ----------
    rows
        (sampled, levels) calls below each sampled coarsest chunk, the finest level first.
    population
        Coarsest chunks in all.
    most
        Calls below a coarsest chunk in which everything passes, per level.
    random
        Where the draws come from.
    draws
        How many.

    Returns
    -------
    ndarray
        (draws, levels).
    """
    left = population - len(rows)
    seen = rows.sum(axis=0, dtype=np.float64)
    total = np.repeat(seen[None], draws, axis=0)
    total[:, -1] += left  # the coarsest level is called everywhere
    if not left:
        return total
    passed = rows[rows[:, -2] > 0][:, :-1].astype(np.float64)
    share = random.beta(len(passed) + 0.5, len(rows) - len(passed) + 0.5, draws)
    more = random.binomial(left, share)
    if len(passed):
        # mean of `more` members drawn from a distribution that is itself drawn: both kinds of scatter
        weights = random.dirichlet(np.ones(len(passed)), draws)
        mean = weights @ passed
        spread = np.sqrt(np.clip(weights @ passed**2 - mean**2, 0, None))
        noise = random.standard_normal((draws, 1)) * spread / np.sqrt(np.maximum(more, 1))[:, None]
        below = np.clip(mean + noise, 0, None)
    else:
        below = np.repeat(np.array(most[:-1], np.float64)[None], draws, axis=0)
    total[:, :-1] += more[:, None] * below
    return total


def _plan(
    draws: NDArray[np.float64],
    tree: ChunkTree,
    cascade: Cascade,
    costs: Costs,
    itemsize: int,
    sampled: int,
    top: int,
) -> Plan:
    seconds = draws @ np.array([costs.fine, *costs.detectors]) + costs.start
    low, high = np.quantile(draws, INTERVAL, axis=0)
    voxels = math.prod(cascade.chunk)
    calls = draws.mean(axis=0)
    chunks = [math.prod(shape) for shape in tree.shapes]
    single = chunks[0] * costs.dense + costs.start
    numbers = [0, *(one.detector.level for one in cascade.levels)]
    plans = [
        LevelPlan(number, n, float(c), float(min(a, c)), float(max(b, c)))
        for number, n, c, a, b in zip(numbers, chunks, calls, low, high, strict=True)
    ]
    seconds_low, seconds_high = np.quantile(seconds, INTERVAL)
    return Plan(
        levels=tuple(plans),
        seconds=float(seconds.mean()),
        seconds_low=float(min(seconds_low, seconds.mean())),  # rounding apart, or a mean beyond the interval
        seconds_high=float(max(seconds_high, seconds.mean())),
        single_level_seconds=single,
        slowness=costs.fine / cascade.fine_seconds,
        gigabytes_read=float(calls @ np.array(tree.voxels_read) * itemsize / 1e9),
        gigabytes_written=float(calls[0] * voxels * 3 / 1e9),
        peak_bytes=cascade.fine_bytes,
        sampled=sampled,
        sampled_share=sampled / top,
        pays=bool(seconds.mean() < single),
    )
