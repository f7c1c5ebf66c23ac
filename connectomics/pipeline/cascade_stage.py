"""Stage 0, with a cascade: score coarse chunks, choose the tiles worth a network, call some back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from connectomics.blockwise.grid import Box, Grid
from connectomics.blockwise.output import Run
from connectomics.blockwise.pool import Pool
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_blocks
from connectomics.cascade.levels import open_level, tile_edge
from connectomics.cascade.settings import Cascade
from connectomics.inference.predictor import Predictor
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import open_array
from connectomics.pipeline.chunk_scoring import (
    BLOCK,
    PASSED,
    ScoreBlock,
    array_name,
    create_verdicts,
    level_maps,
)
from connectomics.pipeline.input import NetworkInput
from connectomics.pipeline.selection import Selection

CALLED_BACK = 12
"""Voxels in one object with their neighbours, on a tile's face, that call back the tile beyond it."""

REACH = 0.5
"""Extent of an object that leads out of a tile, in edges of a tile: a network sees small things in tissue
without objects, too, and each that lies on a face would call back a tile that holds nothing."""


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
        self._maps = level_maps(given, cascade)

    def first(self, grid: Grid) -> NDArray[np.int64]:
        """The tiles that hold a chunk which passed every coarse level."""
        run, cascade, command = self._run, self._cascade, self._run.ledger.folder.name
        for number in reversed(range(len(cascade.levels))):
            name = array_name(command, cascade, number)
            where = self._maps[number]
            step = f"cascade-{cascade.levels[number].detector.level}"
            if run.lacks(name, step):
                create_verdicts(run.path, name, where, cascade.chunk)
            work = ScoreBlock(run.path, self._maps, cascade, self._inference, number, command)
            blocks = Grid(where.shape, (BLOCK,) * 3)
            run_blocks(step, blocks, work, run.ledger, pool=self._pool, progress=self._progress)
        verdicts = open_array(run.path, array_name(command, cascade, 0))
        z, y, x = (slice(0, n) for n in verdicts.shape)
        return self._tiles(grid, verdicts.read_box((z, y, x)) == PASSED)

    def _tiles(self, grid: Grid, passed: NDArray[np.bool_]) -> NDArray[np.int64]:
        where, region = self._maps[0], self._given.region.box
        edge = [c * f for c, f in zip(self._cascade.chunk, where.level.factor, strict=True)]
        chosen = np.zeros(grid.counts, bool)
        for index in np.argwhere(passed) + np.array(where.low):
            spans = []
            for i, e, s, o, b in zip(index, edge, region, grid.start, grid.block, strict=True):
                first, last = max(i * e, s.start) - s.start, min((i + 1) * e, s.stop) - s.start
                spans.append(slice((first + o) // b, (last - 1 + o) // b + 1))
            chosen[tuple(spans)] = True  # a chunk that was called meets the region
        return np.flatnonzero(chosen)

    def called_back(self, done: Selection, new: NDArray[np.int64], affinities: str) -> NDArray[np.int64]:
        """Tiles that were not computed and into which an object leads from one of the tiles `new`.

        An object leads out of a tile where, on its face, enough voxels are connected along all axes, to one
        that reaches far through what was computed around the tile.
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
                    if _leads_out(volume, done, block.box, axis, side):
                        found.add(int(np.ravel_multi_index(beyond.tolist(), done.grid.counts)))
        return np.array(sorted(found), np.int64)


def _leads_out(volume: Any, done: Selection, box: Box, axis: int, side: int) -> bool:
    face = list(box)
    last = box[axis].stop - 1 if side > 0 else min(box[axis].start + 1, box[axis].stop - 1)
    face[axis] = slice(last, last + 1)
    if int(_connected(volume, (face[0], face[1], face[2])).sum()) < CALLED_BACK:
        return False
    around = [
        slice(max(0, s.start - e // 2), min(n, s.stop + e // 2))
        for s, e, n in zip(box, done.grid.block, done.grid.shape, strict=True)
    ]
    low, high = box[axis].start, box[axis].stop
    around[axis] = slice(around[axis].start, high) if side > 0 else slice(low, around[axis].stop)
    near = (around[0], around[1], around[2])
    objects, _ = label(_connected(volume, near) & done.mask(near))
    extents = [max(s.stop - s.start for s in spans) for spans in find_objects(objects)]
    far = np.array([False, *(extent >= REACH * min(done.grid.block) for extent in extents)])
    on_face = objects[
        tuple(slice(f.start - a.start, f.stop - a.start) for f, a in zip(face, near, strict=True))
    ]
    return int(far[on_face].sum()) >= CALLED_BACK


def _connected(volume: Any, box: Box) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (volume.read_box(box)[:3] > 127).all(axis=0)
    return found


def small_tiles(predictor: Predictor, given: NetworkInput, cascade: Cascade, least: int) -> InferenceSettings:
    """Give a predictor tiles for a cascade, halved until they fit the memory; returns how it runs now.

    Parameters
    ----------
    predictor
        Of the finest level.
    given
        What it runs on.
    cascade
        Chunks of its finest coarse level are the largest tiles.
    least
        Edge that tiles are not halved below, voxels.
    """
    shape, settings = given.region.volume.shape, predictor.settings
    factor = open_level(given.location, given.voxel_size, cascade.levels[0].detector.level).factor
    edge = tile_edge(cascade.chunk, factor)
    while True:
        predictor.settings = settings.model_copy(update={"tile": edge})
        fits = predictor.cost.allows(predictor.lattice(shape).largest, settings.memory)
        if fits or edge // 2 < least:
            return predictor.settings
        edge //= 2
