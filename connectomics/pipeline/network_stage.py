"""Stage 1: the network over a region, tile by tile; each tile's core is one block of the ledger."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Block, Grid
from connectomics.blockwise.output import Run
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_stream
from connectomics.inference.predictor import predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.pipeline.input import NetworkInput
from connectomics.roi import IntTriple

CHUNK = 64
"""Edge of a chunk of the network's output; tile cores are multiples of half of it."""


def run_network(
    run: Run, given: NetworkInput, inference: InferenceSettings, name: str, channels: int, progress: Progress
) -> None:
    """Write the first `channels` channels of the network over the region to the array `name`.

    Values are uint8, round(255 p); the affinity offsets go into the array's attributes.
    """
    region, volume = given.region, given.region.volume
    predictor = predictor_for(given.model, inference, volume.read_box, volume.shape, granule=CHUNK // 2)
    core = predictor.lattice(volume.shape).core
    if not run.has(name):
        create_array(
            run.path,
            name,
            shape=(channels, *region.shape),
            dtype=np.uint8,
            chunks=_chunks(core, region.shape),
            voxel_size=volume.voxel_size,
            offset=region.offset,
            attributes={"offsets": [list(offset) for offset in given.model.contract.offsets[:channels]]},
        )
    target = open_array(run.path, name)

    def stream(
        blocks: list[Block],
        done: Callable[[Block, float], None],
        failed: Callable[[Block, Exception], None],
    ) -> None:
        began = time.perf_counter()

        def write(index: int, values: NDArray[Any]) -> None:
            nonlocal began
            target.write_box(blocks[index].box, values[:channels])
            now = time.perf_counter()
            done(blocks[index], now - began)
            began = now

        boxes = (region.in_volume(block.box) for block in blocks)
        predictor.stream(
            volume.read_box, volume.shape, boxes, write, lambda index, error: failed(blocks[index], error)
        )

    z, y, x = (low.start % c for low, c in zip(region.box, core, strict=True))
    run_stream(name, Grid(region.shape, core, (z, y, x)), stream, run.ledger, progress=progress)


def _chunks(core: IntTriple, shape: IntTriple) -> IntTriple:
    z, y, x = (min(n, CHUNK if c % CHUNK == 0 else c) for c, n in zip(core, shape, strict=True))
    return z, y, x
