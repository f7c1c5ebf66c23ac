"""What a cascade will cost on a volume, from a sample of its coarsest chunks, before anything is run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.progress import Progress
from connectomics.cascade.detectors import Score, scorer
from connectomics.cascade.levels import Level, meeting, open_level
from connectomics.cascade.settings import Cascade
from connectomics.errors import InputError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.opening import open_volume
from connectomics.roi import IntTriple

DRAWS = 4000
INTERVAL = (0.05, 0.95)
"""Quantiles of what the draws say: a 90% interval."""


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
    """What a run is expected to take; see `plan_cascade`."""

    levels: tuple[LevelPlan, ...]
    seconds: float
    seconds_low: float
    seconds_high: float
    single_level_seconds: float
    gigabytes_read: float
    gigabytes_written: float
    peak_bytes: float
    sampled: int
    sampled_share: float
    pays: bool


@dataclass(frozen=True)
class Part:
    """What a plan is for.

    Attributes
    ----------
    location, voxel_size
        The volume, and its voxel size (nm zyx) where it carries none.
    box : tuple of slice, optional
        Voxels of a region; default: all.
    """

    location: str
    voxel_size: Sequence[float] | None = None
    box: tuple[slice, slice, slice] | None = None


def plan_cascade(
    part: Part,
    cascade: Cascade,
    inference: InferenceSettings,
    *,
    sample: int,
    seed: int,
    progress: Progress,
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
    """
    if sample < 8:
        raise InputError(f"--sample: at least 8 chunks say something of a volume, got {sample}.")
    finest = open_volume(part.location, part.voxel_size)
    check_voxel_size(cascade, finest.voxel_size, part.location)
    tree = _Tree(part, finest.shape, cascade, inference)
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
    return _plan(draws, tree, cascade, finest.dtype.itemsize, len(chosen), top)


def check_voxel_size(cascade: Cascade, voxel_size: Sequence[float], location: str) -> None:
    """Refuse a cascade that was calibrated at another voxel size."""
    if not np.allclose(cascade.voxel_size, voxel_size, rtol=0.1):
        raise InputError(
            f"{location}: voxel size {tuple(voxel_size)} nm, but cascade '{cascade.name}' was calibrated at "
            f"{cascade.voxel_size} nm: its thresholds mean nothing here. Calibrate one for this volume."
        )


class _Tree:
    """The chunks of all levels of a part of a volume, and which are called below a coarsest one."""

    def __init__(self, part: Part, shape: IntTriple, cascade: Cascade, inference: InferenceSettings) -> None:
        self.cascade = cascade
        self.levels: list[Level] = [
            open_level(part.location, part.voxel_size, one.detector.level) for one in cascade.levels
        ]
        self.scores: list[Score] = [
            scorer(one.detector, level.volume, cascade.chunk, inference)
            for one, level in zip(cascade.levels, self.levels, strict=True)
        ]
        self.factors = [(1, 1, 1), *(level.factor for level in self.levels)]
        box = part.box or tuple(slice(0, n) for n in shape)
        self.spans = [meeting(box, cascade.chunk, factor) for factor in self.factors]
        self.shapes = [[s.stop - s.start for s in spans] for spans in self.spans]

    @property
    def most(self) -> list[int]:
        """Calls per level, the finest first, below one coarsest chunk in which everything passes."""
        return [math.prod(a // b for a, b in zip(self.factors[-1], f, strict=True)) for f in self.factors]

    @property
    def voxels_read(self) -> list[int]:
        """Voxels that a call at each level reads, context apart: finest ones, where no level is stored."""
        stored = [True, *(level.stored for level in self.levels)]
        each = math.prod(self.cascade.chunk)
        return [each * (1 if s else math.prod(f)) for s, f in zip(stored, self.factors, strict=True)]

    def coarsest(self, number: int) -> IntTriple:
        """Place of a coarsest chunk, given its number among those that meet the part."""
        places = np.unravel_index(number, self.shapes[-1])
        z, y, x = (s.start + int(i) for s, i in zip(self.spans[-1], places, strict=True))
        return z, y, x

    def follow(self, index: IntTriple) -> list[int]:
        """Calls at each level, the finest first, below (and at) one coarsest chunk."""
        calls = [0] * len(self.shapes)
        open_ = [index]
        for level in reversed(range(len(self.levels))):
            calls[level + 1] = len(open_)
            passed = [at for at in open_ if self._passes(level, at)]
            open_ = [child for at in passed for child in self._children(level, at)]
        calls[0] = len(open_)
        return calls

    def _passes(self, level: int, index: IntTriple) -> bool:
        there = self.levels[level].counts(self.cascade.chunk)
        z, y, x = (min(i, n - 1) for i, n in zip(index, there, strict=True))  # see calibrate.fitted
        score = self.scores[level]((slice(z, z + 1), slice(y, y + 1), slice(x, x + 1)))
        return bool(score[0, 0, 0] >= self.cascade.levels[level].threshold)

    def _children(self, level: int, index: IntTriple) -> list[IntTriple]:
        ratio = [a // b for a, b in zip(self.factors[level + 1], self.factors[level], strict=True)]
        spans = [
            range(max(s.start, i * r), min(s.stop, (i + 1) * r))
            for i, r, s in zip(index, ratio, self.spans[level], strict=True)
        ]
        return [(z, y, x) for z in spans[0] for y in spans[1] for x in spans[2]]


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
    draws: NDArray[np.float64], tree: _Tree, cascade: Cascade, itemsize: int, sampled: int, top: int
) -> Plan:
    costs = np.array([cascade.fine_seconds, *(one.seconds for one in cascade.levels)])
    seconds = draws @ costs
    low, high = np.quantile(draws, INTERVAL, axis=0)
    voxels = math.prod(cascade.chunk)
    calls = draws.mean(axis=0)
    chunks = [math.prod(shape) for shape in tree.shapes]
    single = chunks[0] * cascade.dense_seconds
    numbers = [0, *(one.detector.level for one in cascade.levels)]
    plans = [
        LevelPlan(number, n, float(c), float(a), float(b))
        for number, n, c, a, b in zip(numbers, chunks, calls, low, high, strict=True)
    ]
    seconds_low, seconds_high = np.quantile(seconds, INTERVAL)
    return Plan(
        levels=tuple(plans),
        seconds=float(seconds.mean()),
        seconds_low=float(seconds_low),
        seconds_high=float(seconds_high),
        single_level_seconds=single,
        gigabytes_read=float(calls @ np.array(tree.voxels_read) * itemsize / 1e9),
        gigabytes_written=float(calls[0] * voxels * 3 / 1e9),
        peak_bytes=cascade.fine_bytes,
        sampled=sampled,
        sampled_share=sampled / top,
        pays=bool(seconds.mean() < single),
    )
