"""Stage 1: the network over a region, tile by tile; each tile's core is one block of the ledger."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Block, Grid
from connectomics.blockwise.output import Run
from connectomics.blockwise.pool import Cluster, Pool
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_blocks, run_stream
from connectomics.inference.predictor import Predictor, predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.place import Place
from connectomics.pipeline.input import NetworkInput
from connectomics.roi import IntTriple

CHUNK = 64
"""Edge of a chunk of the network's output; tile cores are multiples of half of it."""


@dataclass(frozen=True)
class Target:
    """The array that a network's output goes to, how many of its channels, and who may compute it.

    With `on_gpus`, workers without the Dask resource GPU get none of it.
    """

    name: str
    channels: int
    on_gpus: bool = False


def run_network(
    run: Run,
    given: NetworkInput,
    inference: InferenceSettings,
    target: Target,
    pool: Pool,
    progress: Progress,
) -> None:
    """Write the first channels of the network over the region to an array.

    Values are uint8, round(255 p); the affinity offsets go into the array's attributes. In one process,
    reading, network and writing are overlapped; on a cluster each worker loads the network once and has two
    blocks at a time.
    """
    region, volume = given.region, given.region.volume
    predictor = _predictor(given, inference)
    core = predictor.lattice(volume.shape).core
    if not run.has(target.name):
        offsets = given.model.contract.offsets[: target.channels]
        create_array(
            run.path,
            target.name,
            shape=(target.channels, *region.shape),
            dtype=np.uint8,
            chunks=_chunks(core, region.shape),
            voxel_size=volume.voxel_size,
            offset=region.offset,
            attributes={"offsets": [list(offset) for offset in offsets]},
        )
    z, y, x = (low.start % c for low, c in zip(region.box, core, strict=True))
    grid = Grid(region.shape, core, (z, y, x))
    if isinstance(pool, Cluster):
        del predictor  # the workers load their own
        work = PredictBlock(run.path, given, inference, target)
        chosen = pool.needing(GPU=0.5) if target.on_gpus else pool
        run_blocks(target.name, grid, work, run.ledger, pool=chosen, progress=progress)
    else:
        stream = _streaming(predictor, run, given, target)
        run_stream(target.name, grid, stream, run.ledger, progress=progress)


def _streaming(predictor: Predictor, run: Run, given: NetworkInput, target: Target) -> Callable[..., None]:
    region, volume = given.region, given.region.volume
    array = open_array(run.path, target.name)

    def stream(
        blocks: list[Block],
        done: Callable[[Block, float], None],
        failed: Callable[[Block, Exception], None],
    ) -> None:
        began = time.perf_counter()

        def write(index: int, values: NDArray[Any]) -> None:
            nonlocal began
            array.write_box(blocks[index].box, values[: target.channels])
            now = time.perf_counter()
            done(blocks[index], now - began)
            began = now

        boxes = (region.in_volume(block.box) for block in blocks)
        predictor.stream(
            volume.read_box, volume.shape, boxes, write, lambda index, error: failed(blocks[index], error)
        )

    return stream


@dataclass(frozen=True)
class PredictBlock:
    """Predicts and writes one block on a worker, whose process keeps the network for the next.

    Two blocks are on a worker at a time: while the network is at one, the other is read or written.
    """

    path: Place
    given: NetworkInput
    inference: InferenceSettings
    target: Target

    def __call__(self, block: Block) -> None:
        """Read, predict and write the block."""
        from distributed import secede

        with _AHEAD:
            secede()  # lets the worker begin the next block
            predictor = self._loaded()
            region, volume = self.given.region, self.given.region.volume
            box = region.in_volume(block.box)
            values = predictor.predict_box(volume.read_box, volume.shape, box, _TURN)
            open_array(self.path, self.target.name).write_box(block.box, values[: self.target.channels])

    def _loaded(self) -> Predictor:
        volume = self.given.region.volume
        key = (self.given.model.sha256, self.inference.model_dump_json(), volume.name, volume.shape)
        with _LOADING:
            if _kept.get("key") != key:
                _kept.clear()
                _kept.update(key=key, predictor=_predictor(self.given, self.inference))
            predictor: Predictor = _kept["predictor"]
            return predictor


_kept: dict[str, Any] = {}
"""The network that this process loaded last, and what for."""

_LOADING, _TURN, _AHEAD = threading.Lock(), threading.Lock(), threading.Semaphore(2)
"""Who loads the network of this process, who is at it, and who has a block at all."""


def _predictor(given: NetworkInput, inference: InferenceSettings) -> Predictor:
    volume = given.region.volume
    return predictor_for(given.model, inference, volume.read_box, volume.shape, granule=CHUNK // 2)


def _chunks(core: IntTriple, shape: IntTriple) -> IntTriple:
    z, y, x = (min(n, CHUNK if c % CHUNK == 0 else c) for c, n in zip(core, shape, strict=True))
    return z, y, x
