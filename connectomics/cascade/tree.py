"""The chunks of a volume, level below level, and which of them a cascade calls."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from connectomics.cascade.detectors import GROUP, Box, Score, scorer, scores_of
from connectomics.cascade.levels import Level, meeting, open_level
from connectomics.cascade.settings import Cascade
from connectomics.inference.settings import InferenceSettings
from connectomics.roi import IntTriple, int_triple


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


class ChunkTree:
    """The chunks of all levels of a part of a volume, and which are called below a coarsest one.

    Parameters
    ----------
    part
        The volume, or a region of it.
    shape
        Voxels of the volume.
    cascade
        Its detectors and thresholds.
    inference
        How networks run.
    """

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

    def coarsest(self, number: int) -> Box:
        """A coarsest chunk, as a box, given its number among those that meet the part."""
        places = np.unravel_index(number, self.shapes[-1])
        starts = (s.start + int(i) for s, i in zip(self.spans[-1], places, strict=True))
        z, y, x = (slice(at, at + 1) for at in starts)
        return z, y, x

    def seconds(self, level: int, boxes: int = 5) -> float:
        """Seconds that a chunk of a coarse level takes here, its reading included.

        Parameters
        ----------
        level
            Which, of the coarse levels, the finest first.
        boxes
            Groups of chunks to look at, spread over the part's diagonal, after one that compiles.

        Returns
        -------
        float
            The median.
        """
        there, times = self.levels[level].counts(self.cascade.chunk), []
        for k in range(boxes + 1):
            starts = [
                min(s.start + (s.stop - s.start) * k // (boxes + 1) // GROUP * GROUP, n - 1)
                for s, n in zip(self.spans[level + 1], there, strict=True)
            ]
            z, y, x = (slice(at, min(at + GROUP, n)) for at, n in zip(starts, there, strict=True))
            began = time.perf_counter()
            found = self.scores[level]((z, y, x))
            times.append((time.perf_counter() - began) / found.size)
        return statistics.median(times[1:])

    def follow(self, box: Box) -> list[int]:
        """Calls at each level, the finest first, below (and at) a box of coarsest chunks."""
        calls = [0] * len(self.shapes)
        boxes = [box]
        for level in reversed(range(len(self.levels))):
            calls[level + 1] = _chunks(boxes)
            boxes = [self._children(level, at) for one in boxes for at in self._passing(level, one)]
        calls[0] = _chunks(boxes)
        return calls

    def _passing(self, level: int, box: Box) -> list[IntTriple]:
        """The chunks of a box that pass; they are scored together, as in a run."""
        there = self.levels[level].counts(self.cascade.chunk)
        passed = scores_of(self.scores[level], box, there) >= self.cascade.levels[level].threshold
        low = np.array([s.start for s in box])
        return [int_triple(at) for at in (np.argwhere(passed) + low).tolist()]

    def _children(self, level: int, index: IntTriple) -> Box:
        """Chunks of the next finer level in a chunk that passed, as far as they meet the part."""
        ratio = [a // b for a, b in zip(self.factors[level + 1], self.factors[level], strict=True)]
        z, y, x = (
            slice(max(s.start, i * r), min(s.stop, (i + 1) * r))
            for i, r, s in zip(index, ratio, self.spans[level], strict=True)
        )
        return z, y, x


def _chunks(boxes: Sequence[Box]) -> int:
    return sum(math.prod(s.stop - s.start for s in box) for box in boxes)
