"""Thresholds of a cascade: the cheapest that lose no more objects than promised, with stated confidence."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.cascade.chunks import coarsened, refined
from connectomics.cascade.settings import Promise
from connectomics.errors import InputError
from connectomics.roi import IntTriple

STEPS = 400
"""Steps of a path of thresholds, from passing everything to passing little."""

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Scored:
    """One calibration volume: what the detectors say of its chunks, and where its objects are.

    Attributes
    ----------
    scores : sequence of ndarray
        Per coarse level, finest first: (z, y, x) score of every chunk; higher is likelier to hold truth.
    factors : sequence of tuple
        Per coarse level: fine chunks along z, y, x in one of its chunks.
    objects : sequence of ndarray
        Per object, (n, 3) fine chunks (z, y, x) that it lies in.
    shape : tuple of int
        Fine chunks along z, y, x.
    """

    scores: Sequence[Scores]
    factors: Sequence[IntTriple]
    objects: Sequence[NDArray[np.int64]]
    shape: IntTriple

    def truth(self, factor: IntTriple = (1, 1, 1)) -> NDArray[np.bool_]:
        """Which chunks of `factor` fine ones hold truth."""
        found = np.zeros(self.shape, bool)
        for chunks in self.objects:
            found[tuple(chunks.T)] = True
        return coarsened(found, factor)

    def of_fine(self, level: int, chunks: NDArray[np.int64]) -> Scores:
        """Scores at `level` of what holds these fine chunks."""
        found: Scores = self.scores[level][tuple((chunks // np.array(self.factors[level])).T)]
        return found


def tolerance_rank(objects: int, recall: float, confidence: float) -> int:
    """How many of the worst objects' scores may be given up, plus one; 0 where there are too few objects.

    The k-th smallest of n independent scores, taken as threshold, keeps a share of at least `recall` of all
    objects with probability ``P(Binomial(n, 1 - recall) >= k)``, exactly, whatever the distribution of
    scores (a distribution-free tolerance limit; Wilks 1941, doi:10.1214/aoms/1177731788). Largest such k.

    Examples
    --------
    >>> tolerance_rank(28, 0.9, 0.95), tolerance_rank(29, 0.9, 0.95)
    (0, 1)
    """
    from scipy.stats import binom

    allowed = np.flatnonzero(binom.sf(np.arange(objects), objects, 1 - recall) >= confidence)
    return int(allowed[-1]) + 1 if len(allowed) else 0


def fewest_objects(recall: float, confidence: float) -> int:
    """Objects that a promise needs at the least: with fewer, even keeping all of them proves too little."""
    return math.ceil(math.log(1 - confidence) / math.log(recall) - 1e-9)


@dataclass(frozen=True)
class Path:
    """Thresholds of all levels that rise together, step by step; step 0 passes everything.

    Attributes
    ----------
    thresholds : ndarray
        (levels, STEPS + 1) float32, finest coarse level first; never falling along a row.
    """

    thresholds: NDArray[np.float32]

    def steps(self, volume: Scored, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The last step at which each fine chunk still passes every level."""
        rows = [
            np.searchsorted(row, volume.of_fine(level, chunks), side="right") - 1
            for level, row in enumerate(self.thresholds)
        ]
        found: NDArray[np.int64] = np.min(rows, axis=0)
        return found

    def object_steps(self, volume: Scored, coverage: float) -> NDArray[np.int64]:
        """The last step at which each object still has a share of at least `coverage` of its chunks."""
        found = []
        for chunks in volume.objects:
            steps = np.sort(self.steps(volume, chunks))[::-1]
            found.append(steps[math.ceil(coverage * len(steps) - 1e-9) - 1])
        return np.array(found, np.int64)


def path_of(volumes: Sequence[Scored], weights: Sequence[float]) -> Path:
    """The path along quantiles of the scores of positive chunks, each level as fast as its weight says.

    Over the first half, thresholds rise through the scores that lie below those of all positive chunks here:
    elsewhere positive ones may score less. Over the second half level k comes to lose a share of
    ``weights[k]`` of the positive chunks here. A level of weight 0 passes everything.
    """
    half = STEPS // 2
    rows = []
    for level, weight in enumerate(weights):
        scores = np.concatenate([volume.scores[level].ravel() for volume in volumes])
        truth = np.concatenate([volume.truth(volume.factors[level]).ravel() for volume in volumes])
        row = np.full(STEPS + 1, -np.inf)
        if weight:
            positive = scores[truth]
            below = np.append(scores[scores < positive.min()], positive.min())
            row[1 : half + 1] = np.quantile(below, np.arange(half) / half, method="lower")
            losing = weight * np.arange(STEPS - half) / (STEPS - half)
            row[half + 1 :] = np.quantile(positive, losing, method="lower")
        rows.append(row.astype(np.float32))
    return Path(np.array(rows))


def expected_seconds(
    volumes: Sequence[Scored], thresholds: Sequence[float], costs: Sequence[float], fine_cost: float
) -> float:
    """Seconds of all calls on these volumes: those of each coarse level, and of the finest.

    Parameters
    ----------
    volumes
        With scores for every chunk.
    thresholds
        Per coarse level, finest first.
    costs
        Seconds a call of each.
    fine_cost
        Seconds a call at the finest level.
    """
    total = 0.0
    for volume in volumes:
        calls = calls_per_level(volume, thresholds)
        total += float(np.dot(calls, [fine_cost, *costs]))
    return total


def calls_per_level(volume: Scored, thresholds: Sequence[float]) -> list[int]:
    """How many chunks each level is called on, the finest first."""
    factors = [(1, 1, 1), *volume.factors]
    called = np.ones(volume.scores[-1].shape, bool)
    calls = [int(called.sum())]
    for level in reversed(range(len(thresholds))):
        passed = called & (volume.scores[level] >= thresholds[level])
        ratio = [a // b for a, b in zip(factors[level + 1], factors[level], strict=True)]
        called = refined(passed, ratio, volume.scores[level - 1].shape if level else volume.shape)
        calls.insert(0, int(called.sum()))
    return calls


@dataclass(frozen=True)
class Chosen:
    """Thresholds and what is promised of them.

    Attributes
    ----------
    thresholds : tuple of float
        Per coarse level, finest first.
    objects : int
        Objects that the promise was tested on.
    lost : int
        How many of these the thresholds lose.
    """

    thresholds: tuple[float, ...]
    objects: int
    lost: int


def choose_thresholds(
    design: Sequence[Scored],
    proof: Sequence[Scored],
    costs: Sequence[float],
    fine_cost: float,
    promise: Promise,
) -> Chosen:
    """The thresholds that should cost least, of those that keep the promise.

    The promise: with probability ``confidence`` over the drawing of the calibration volumes, at least a share
    ``recall`` of all objects keep at least a share ``coverage`` of their chunks, through all levels. On the
    `design` volumes a path of thresholds is chosen (how much each level may lose); then on the `proof`
    volumes, which had no part in that, each object gets one score, the last step of the path at which it is
    kept, and the threshold is an order statistic of these scores (`tolerance_rank`). One score an object,
    made of all its chunks and all levels, leaves errors free to depend on each other within an object.
    Objects are taken as independent of each other, or, with ``unit`` "volume", only those of different
    volumes: then one object is drawn of each, and the promise is for a random object of a random volume.

    Parameters
    ----------
    design, proof
        Volumes with scores; none may be in both.
    costs, fine_cost
        Seconds a call: coarse levels, finest first, and the finest level.
    promise
        What they must keep.

    Raises
    ------
    InputError
        Too few objects (or volumes) for the promise; the message says how many it takes.
    """
    recall, confidence, coverage = promise.recall, promise.confidence, promise.coverage
    by_volume = promise.unit == "volume"
    count = sum(1 if by_volume else len(volume.objects) for volume in proof if len(volume.objects))
    rank = tolerance_rank(count, recall, confidence)
    if not rank:
        raise InputError(
            f"cascade: {count} {promise.unit}s are too few to promise a recall of {recall:g} with confidence "
            f"{confidence:g}; it takes {fewest_objects(recall, confidence)}, beside those that they are "
            "designed on. Give more volumes, or promise less."
        )
    path = _cheapest_path(design, costs, fine_cost, recall, coverage)
    scores = [path.object_steps(volume, coverage) for volume in proof if len(volume.objects)]
    random = np.random.default_rng(0)
    steps = np.sort([random.choice(s) for s in scores] if by_volume else np.concatenate(scores))
    step = int(steps[rank - 1])
    thresholds = tuple(float(t) for t in path.thresholds[:, step])
    return Chosen(thresholds, count, int((steps < step).sum()))


def _cheapest_path(
    design: Sequence[Scored], costs: Sequence[float], fine_cost: float, recall: float, coverage: float
) -> Path:
    def seconds(path: Path) -> float:
        steps = np.sort(np.concatenate([path.object_steps(volume, coverage) for volume in design]))
        step = int(steps[math.floor((1 - recall) * len(steps))])
        return expected_seconds(design, path.thresholds[:, step].tolist(), costs, fine_cost)

    return min((path_of(design, weights) for weights in _weights(len(costs))), key=seconds)


def _weights(levels: int, parts: int = 4) -> Iterator[tuple[float, ...]]:
    """Ways to share out what may be lost among levels; the largest share is 1."""
    for shares in itertools.product(range(parts + 1), repeat=levels):
        if max(shares) == parts:
            yield tuple(share / parts for share in shares)
