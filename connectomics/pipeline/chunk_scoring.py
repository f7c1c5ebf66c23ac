"""Scores the chunks of one coarse level of a cascade, block by block, on any worker."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Block, Box
from connectomics.cascade.chunks import refined
from connectomics.cascade.detectors import GROUP, Score, scorer, scores_of
from connectomics.cascade.levels import Level, meeting, open_level
from connectomics.cascade.settings import Cascade
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.place import Place
from connectomics.pipeline.input import NetworkInput
from connectomics.roi import IntTriple, int_triple, triple

REJECTED, PASSED = 1, 2
"""Verdicts; 0 is a chunk that was not called."""

BLOCK = 4
"""Edge, in chunks, of a block of one level."""


@dataclass(frozen=True)
class LevelMap:
    """The chunks of one coarse level that cover a region.

    Attributes
    ----------
    low, shape : tuple of int
        First chunk of the level, and number of chunks, along z, y, x.
    level : Level
        The level.
    within : tuple of slice
        Those chunks of the map that meet the region: it begins and ends on chunks of the coarsest level.
    """

    low: IntTriple
    shape: IntTriple
    level: Level
    within: Box

    def wanted(self, box: Box) -> NDArray[np.bool_]:
        """Which chunks of a box of the map meet the region."""
        found = np.zeros([s.stop - s.start for s in box], bool)
        spans = [
            slice(max(0, w.start - s.start), max(0, w.stop - s.start))
            for s, w in zip(box, self.within, strict=True)
        ]
        found[tuple(spans)] = True
        return found


def level_maps(given: NetworkInput, cascade: Cascade) -> tuple[LevelMap, ...]:
    """The chunks of each coarse level, the finest first, that cover the region."""
    levels = [open_level(given.location, given.voxel_size, one.detector.level) for one in cascade.levels]
    top = levels[-1].factor
    found = []
    for level in levels:
        ratio = [t // f for t, f in zip(top, level.factor, strict=True)]
        inner = meeting(given.region.box, cascade.chunk, level.factor)
        whole = meeting((slice(0, n) for n in given.region.volume.shape), cascade.chunk, level.factor)
        low = [s.start // r * r for s, r in zip(inner, ratio, strict=True)]
        end = [min(-(-s.stop // r) * r, w.stop) for s, r, w in zip(inner, ratio, whole, strict=True)]
        z, y, x = (slice(s.start - lo, s.stop - lo) for s, lo in zip(inner, low, strict=True))
        shape = [b - a for a, b in zip(low, end, strict=True)]
        found.append(LevelMap(int_triple(low), int_triple(shape), level, (z, y, x)))
    return tuple(found)


@dataclass(frozen=True)
class ScoreBlock:
    """Scores the chunks of one block of a level that the coarser level let through."""

    path: Place
    maps: tuple[LevelMap, ...]
    cascade: Cascade
    inference: InferenceSettings
    number: int
    command: str

    def __call__(self, block: Block) -> None:
        """Read, score, write."""
        called = self._called(block.box)
        if not called.any():
            return
        where = self.maps[self.number]
        score = self._scorer(where.level)
        found = np.full(called.shape, -np.inf, np.float32)
        if called.all():
            found = _score(score, block.box, where, self.cascade.chunk)
        else:
            for part in _groups(called):
                box = [
                    slice(s.start + p.start, s.start + p.stop) for s, p in zip(block.box, part, strict=True)
                ]
                found[part] = _score(score, box, where, self.cascade.chunk)
        passed = called & (found >= self.cascade.levels[self.number].threshold)
        verdicts = np.where(passed, PASSED, np.where(called, REJECTED, 0)).astype(np.uint8)
        open_array(self.path, array_name(self.command, self.cascade, self.number)).write_box(
            block.box, verdicts
        )

    def _called(self, box: Box) -> NDArray[np.bool_]:
        wanted = self.maps[self.number].wanted(box)
        above = self.number + 1
        if above == len(self.maps) or not wanted.any():
            return wanted
        coarse, fine = (self.maps[n].level.factor for n in (above, self.number))
        ratio = [a // b for a, b in zip(coarse, fine, strict=True)]
        z, y, x = (slice(s.start // r, -(-s.stop // r)) for s, r in zip(box, ratio, strict=True))
        name = array_name(self.command, self.cascade, above)
        passed = open_array(self.path, name).read_box((z, y, x)) == PASSED
        shifted = [s.start % r for s, r in zip(box, ratio, strict=True)]
        whole = refined(passed, ratio, [n * r for n, r in zip(passed.shape, ratio, strict=True)])
        return wanted & whole[tuple(slice(a, a + n) for a, n in zip(shifted, wanted.shape, strict=True))]

    def _scorer(self, level: Level) -> Score:
        detector = self.cascade.levels[self.number].detector
        key = (
            level.volume.name,
            level.volume.shape,
            level.factor,
            detector.model_dump_json(),
            self.inference.model_dump_json(),
        )
        with _LOADING:
            if key not in _scorers:
                _scorers.clear()
                _scorers[key] = scorer(detector, level.volume, self.cascade.chunk, self.inference)
            return _scorers[key]


def _groups(called: NDArray[np.bool_]) -> Iterator[Box]:
    """Boxes of `GROUP` chunks along each axis that hold one that was called."""
    starts = (range(0, n, GROUP) for n in called.shape)
    for corner in itertools.product(*starts):
        z, y, x = (slice(a, min(a + GROUP, n)) for a, n in zip(corner, called.shape, strict=True))
        if called[z, y, x].any():
            yield z, y, x


_scorers: dict[Any, Score] = {}
"""The detector that this process made last; a network among them is loaded once."""

_LOADING = threading.Lock()


def _score(score: Score, part: Sequence[slice], where: LevelMap, chunk: IntTriple) -> NDArray[np.float32]:
    """Scores of a box of chunks of the map."""
    z, y, x = (slice(s.start + lo, s.stop + lo) for s, lo in zip(part, where.low, strict=True))
    return scores_of(score, (z, y, x), where.level.counts(chunk))


def verdicts_of(command: str) -> str:
    """Group in the output with one array of verdicts a level, one voxel a chunk; each command has its own."""
    return f"cascade/{command}"


def array_name(command: str, cascade: Cascade, number: int) -> str:
    """Name of the array of a coarse level's verdicts."""
    return f"{verdicts_of(command)}/level_{cascade.levels[number].detector.level}"


def create_verdicts(path: Place, name: str, where: LevelMap, chunk: IntTriple) -> None:
    """Make the array of a level's verdicts, all 0."""
    volume = where.level.volume
    size = [v * c for v, c in zip(volume.voxel_size, chunk, strict=True)]
    create_array(
        path,
        name,
        shape=where.shape,
        dtype=np.dtype(np.uint8),
        chunks=int_triple([min(BLOCK, n) for n in where.shape]),
        voxel_size=triple(size),
        offset=triple([o + s * lo for o, s, lo in zip(volume.offset, size, where.low, strict=True)]),
    )
