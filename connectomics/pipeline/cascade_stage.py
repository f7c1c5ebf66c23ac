"""Stage 0, with a cascade: score coarse chunks, choose the tiles worth a network, call some back."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Block, Box, Grid
from connectomics.blockwise.output import Run
from connectomics.blockwise.pool import Pool
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_blocks
from connectomics.cascade.chunks import refined
from connectomics.cascade.detectors import Score, scorer
from connectomics.cascade.levels import Level, open_level
from connectomics.cascade.settings import Cascade
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.place import Place
from connectomics.pipeline.input import NetworkInput
from connectomics.roi import IntTriple, int_triple, triple

FOLDER = "cascade"
"""Group in the output with one array of verdicts a level, one voxel a chunk."""

REJECTED, PASSED = 1, 2
"""Verdicts; 0 is a chunk that was not called."""

BLOCK = 4
"""Edge, in chunks, of a block of one level."""

CALLED_BACK = 12
"""Voxels in one object with their neighbours, on a tile's face, that call back the tile beyond it."""

ROUNDS = 64
"""How often tiles may be called back; an axon is followed by one tile a round."""


@dataclass(frozen=True)
class LevelMap:
    """The chunks of one coarse level that cover a region.

    Attributes
    ----------
    low, shape : tuple of int
        First chunk of the level, and number of chunks, along z, y, x.
    level : Level
        The level.
    """

    low: IntTriple
    shape: IntTriple
    level: Level


@dataclass(frozen=True)
class Selection:
    """Which tiles of a lattice were computed.

    Attributes
    ----------
    grid : Grid
        The tiles' cores over the region.
    numbers : ndarray of int64
        Those computed.
    """

    grid: Grid
    numbers: NDArray[np.int64]

    @property
    def map(self) -> NDArray[np.bool_]:
        """One value a tile."""
        chosen = np.zeros(len(self.grid), bool)
        chosen[self.numbers] = True
        return chosen.reshape(self.grid.counts)

    def empty(self, box: Box) -> bool:
        """True where no voxel of the box (of the region) was computed."""
        spans = [
            slice((s.start + o) // b, (s.stop - 1 + o) // b + 1)
            for s, o, b in zip(box, self.grid.start, self.grid.block, strict=True)
        ]
        return not self.map[tuple(spans)].any()


class CascadeChooser:
    """Chooses the tiles of the network for a run.

    Parameters
    ----------
    run, given, pool, progress
        As in the network stage.
    cascade
        What looks first.
    inference
        How detectors that are networks run.
    """

    def __init__(
        self,
        run: Run,
        given: NetworkInput,
        cascade: Cascade,
        inference: InferenceSettings,
        pool: Pool,
        progress: Progress,
    ) -> None:
        self._run, self._given, self._cascade = run, given, cascade
        self._inference, self._pool, self._progress = inference, pool, progress
        self._maps = [_level_map(given, cascade, number) for number in range(len(cascade.levels))]
        self.calls: list[int] = []

    def first(self, grid: Grid) -> NDArray[np.int64]:
        """The tiles that hold a chunk which passed every coarse level."""
        run, cascade = self._run, self._cascade
        for number in reversed(range(len(cascade.levels))):
            name = _array_name(cascade, number)
            where = self._maps[number]
            if not run.has(name):
                _create_verdicts(run.path, name, where, cascade.chunk)
            work = ScoreBlock(run.path, self._given, cascade, self._inference, number)
            step = f"cascade-{cascade.levels[number].detector.level}"
            blocks = Grid(where.shape, (BLOCK,) * 3)
            run_blocks(step, blocks, work, run.ledger, pool=self._pool, progress=self._progress)
        verdicts = [self._read(number) for number in range(len(cascade.levels))]
        self.calls = [int((one > 0).sum()) for one in verdicts]
        return self._tiles(grid, verdicts[0] == PASSED)

    def _read(self, number: int) -> NDArray[np.uint8]:
        volume = open_array(self._run.path, _array_name(self._cascade, number))
        z, y, x = (slice(0, n) for n in volume.shape)
        return volume.read_box((z, y, x))

    def _tiles(self, grid: Grid, passed: NDArray[np.bool_]) -> NDArray[np.int64]:
        where, region = self._maps[0], self._given.region.box
        edge = [c * f for c, f in zip(self._cascade.chunk, where.level.factor, strict=True)]
        chosen = np.zeros(grid.counts, bool)
        for index in np.argwhere(passed) + np.array(where.low):
            spans = []
            for i, e, s, o, b in zip(index, edge, region, grid.start, grid.block, strict=True):
                first, last = max(i * e, s.start) - s.start, min((i + 1) * e, s.stop) - s.start
                spans.append(slice((first + o) // b, max(first + o, last - 1 + o) // b + 1))
            if all(span.stop > span.start >= 0 for span in spans):
                chosen[tuple(spans)] = True
        return np.flatnonzero(chosen)

    def called_back(self, done: Selection, new: NDArray[np.int64], affinities: str) -> NDArray[np.int64]:
        """Tiles that were not computed and into which an object leads from one of the tiles `new`.

        An object leads out of a tile where, on its face, enough voxels are connected along all axes.
        """
        volume = open_array(self._run.path, affinities)
        counts, chosen = np.array(done.grid.counts), done.map
        found: set[int] = set()
        for number in new:
            block = done.grid[int(number)]
            for axis in range(3):
                for side in (-1, 1):
                    beyond = np.array(block.index)
                    beyond[axis] += side
                    if (beyond < 0).any() or (beyond >= counts).any() or chosen[tuple(beyond)]:
                        continue
                    if _leads_out(volume, block.box, axis, side):
                        found.add(int(np.ravel_multi_index(beyond.tolist(), done.grid.counts)))
        return np.array(sorted(found), np.int64)


def _leads_out(volume: Any, box: Box, axis: int, side: int) -> bool:
    face = list(box)
    last = box[axis].stop - 1 if side > 0 else min(box[axis].start + 1, box[axis].stop - 1)
    face[axis] = slice(last, last + 1)
    connected = (volume.read_box((face[0], face[1], face[2]))[:3] > 127).all(axis=0)
    return int(connected.sum()) >= CALLED_BACK


@dataclass(frozen=True)
class ScoreBlock:
    """Scores the chunks of one block of a level that the coarser level let through; on any worker."""

    path: Place
    given: NetworkInput
    cascade: Cascade
    inference: InferenceSettings
    number: int

    def __call__(self, block: Block) -> None:
        """Read, score, write."""
        called = self._called(block.box)
        if not called.any():
            return
        where = _level_map(self.given, self.cascade, self.number)
        score = self._scorer(where.level)
        found = np.full(called.shape, -np.inf, np.float32)
        if called.all():
            found = _score(score, block.box, where, self.cascade.chunk)
        else:
            for index in np.argwhere(called):
                part = [slice(s.start + i, s.start + i + 1) for s, i in zip(block.box, index, strict=True)]
                found[tuple(index)] = _score(score, part, where, self.cascade.chunk)[0, 0, 0]
        passed = called & (found >= self.cascade.levels[self.number].threshold)
        verdicts = np.where(passed, PASSED, np.where(called, REJECTED, 0)).astype(np.uint8)
        open_array(self.path, _array_name(self.cascade, self.number)).write_box(block.box, verdicts)

    def _called(self, box: Box) -> NDArray[np.bool_]:
        shape = [s.stop - s.start for s in box]
        if self.number == len(self.cascade.levels) - 1:
            return np.ones(shape, bool)
        above = self.number + 1
        coarse, fine = (_level_map(self.given, self.cascade, n).level.factor for n in (above, self.number))
        ratio = [a // b for a, b in zip(coarse, fine, strict=True)]
        z, y, x = (slice(s.start // r, -(-s.stop // r)) for s, r in zip(box, ratio, strict=True))
        passed = open_array(self.path, _array_name(self.cascade, above)).read_box((z, y, x)) == PASSED
        shifted = [s.start % r for s, r in zip(box, ratio, strict=True)]
        whole = refined(passed, ratio, [n * r for n, r in zip(passed.shape, ratio, strict=True)])
        return whole[tuple(slice(a, a + n) for a, n in zip(shifted, shape, strict=True))]

    def _scorer(self, level: Level) -> Score:
        detector = self.cascade.levels[self.number].detector
        key = (
            self.given.location,
            level.factor,
            detector.model_dump_json(),
            self.inference.model_dump_json(),
        )
        with _LOADING:
            if key not in _scorers:
                _scorers.clear()
                _scorers[key] = scorer(detector, level.volume, self.cascade.chunk, self.inference)
            return _scorers[key]


_scorers: dict[Any, Score] = {}
"""The detector that this process made last; a network among them is loaded once."""

_LOADING = threading.Lock()


def _score(score: Score, part: Sequence[slice], where: LevelMap, chunk: IntTriple) -> NDArray[np.float32]:
    """Scores of a box of chunks of the map; the neighbour's where the level lacks the last ones."""
    there = where.level.counts(chunk)
    wanted = [slice(s.start + lo, s.stop + lo) for s, lo in zip(part, where.low, strict=True)]
    z, y, x = (slice(min(s.start, n - 1), min(s.stop, n)) for s, n in zip(wanted, there, strict=True))
    found = score((z, y, x))
    lacking = [(0, w.stop - w.start - n) for w, n in zip(wanted, found.shape, strict=True)]
    result: NDArray[np.float32] = np.pad(found, lacking, mode="edge")
    return result


def tile_edge(cascade: Cascade, given: NetworkInput) -> int:
    """Edge, in voxels, of the tiles that a cascade chooses among: a chunk of its finest coarse level."""
    factor = open_level(given.location, given.voxel_size, cascade.levels[0].detector.level).factor
    return max(c * f for c, f in zip(cascade.chunk, factor, strict=True))


def _level_map(given: NetworkInput, cascade: Cascade, number: int) -> LevelMap:
    """The chunks of a level that cover the region; it begins on a chunk of the coarsest level."""
    levels = [open_level(given.location, given.voxel_size, one.detector.level) for one in cascade.levels]
    level, top = levels[number], levels[-1].factor
    low, shape = [], []
    for s, n, c, f, t in zip(
        given.region.box, given.region.volume.shape, cascade.chunk, level.factor, top, strict=True
    ):
        first = s.start // (c * t) * (t // f)
        end = min(-(-s.stop // (c * t)) * (t // f), -(-n // (c * f)))
        low.append(first)
        shape.append(end - first)
    return LevelMap(int_triple(low), int_triple(shape), level)


def _array_name(cascade: Cascade, number: int) -> str:
    return f"{FOLDER}/level_{cascade.levels[number].detector.level}"


def _create_verdicts(path: Place, name: str, where: LevelMap, chunk: IntTriple) -> None:
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


def computed_tiles(chosen: Selection | None) -> dict[str, Any]:
    """What a report says of the tiles that were computed."""
    if chosen is None:
        return {}
    return {"tiles": len(chosen.grid), "tiles_computed": len(chosen.numbers)}
