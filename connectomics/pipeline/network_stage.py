"""Stage 1: the network over a region, tile by tile; each tile's core is one block of the ledger."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.affinities import clear_outside
from connectomics.blockwise.grid import Block, Box, Grid, Subset
from connectomics.blockwise.output import Run
from connectomics.blockwise.pool import Cluster, Pool
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_blocks, run_stream
from connectomics.cascade.settings import Cascade
from connectomics.inference.predictor import Predictor, predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.inference.tiles import scaled
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.place import Place
from connectomics.io.volume import Volume
from connectomics.networks.contract import Contract
from connectomics.pipeline.cascade_stage import CascadeChooser, small_tiles
from connectomics.pipeline.input import NetworkInput
from connectomics.pipeline.selection import Selection
from connectomics.roi import IntTriple, int_triple, triple

log = logging.getLogger(__name__)

CHUNK = 64
"""Edge of a chunk of the network's output; tile cores are multiples of half of it."""


@dataclass(frozen=True)
class Product:
    """An array that some of a network's channels go to.

    Attributes
    ----------
    name : str
        Group in the output.
    channels : slice or int
        Which of the channels; a number makes an image without a channel axis.
    dtype : str
        What they are stored as: rounded and clipped to the type's range.
    attributes : Mapping
        What readers of the array must know.
    """

    name: str
    channels: slice | int
    dtype: str = "uint8"
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Its part of the network's output (c, z, y, x), as it is stored."""
        chosen = values[self.channels]
        if chosen.dtype == self.dtype:
            return chosen
        dtype = np.dtype(self.dtype)
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        clipped = np.clip(chosen, float(limits.min), float(limits.max))
        return (clipped if dtype.kind == "f" else np.rint(clipped, out=clipped)).astype(dtype)


@dataclass(frozen=True)
class Target:
    """What a network's output becomes, and who may compute it.

    Attributes
    ----------
    step : str
        Name of the step in the ledger.
    products : tuple of Product
        The arrays.
    on_gpus : bool
        Workers without the Dask resource GPU get none of it.
    samples : int
        Passes per tile, of a translation.
    """

    step: str
    products: tuple[Product, ...]
    on_gpus: bool = False
    samples: int = 1

    @property
    def has_affinities(self) -> bool:
        """True where the first array holds affinities."""
        return "offsets" in self.products[0].attributes

    @classmethod
    def affinities(cls, name: str, contract: Contract, channels: int, on_gpus: bool) -> "Target":
        """One array of the leading affinity channels, with their offsets in its attributes."""
        offsets = [list(offset) for offset in contract.offsets[:channels]]
        return cls(name, (Product(name, slice(0, channels), "uint8", {"offsets": offsets}),), on_gpus)

    def write(self, arrays: Mapping[str, Volume], box: Box, values: NDArray[Any], where: Box) -> None:
        """Write every product's part of a box of their voxels, which lies at `where` in the volume."""
        clear_outside(values, self.products[0].attributes.get("offsets", ()), where)
        for product in self.products:
            arrays[product.name].write_box(box, product.of(values))


def run_network(
    run: Run,
    given: NetworkInput,
    inference: InferenceSettings,
    target: Target,
    pool: Pool,
    progress: Progress,
    cascade: Cascade | None = None,
) -> Selection | None:
    """Write what the network makes of the region to the target's arrays.

    In one process, reading, network and writing are overlapped; on a cluster each worker loads the network
    once and has two blocks at a time. Blocks are counted in voxels of the input, the arrays may be finer.

    With a cascade only tiles that it chooses, or into which objects lead, are computed; returns which.
    """
    region, volume = given.region, given.region.volume
    predictor = _predictor(given, inference, target.samples)
    if cascade is not None and inference.tile is None:
        inference = small_tiles(predictor, given, cascade, CHUNK // 2)
    core = _settled_core(run, predictor, volume.shape)
    grid = Grid(region.shape, core, int_triple([s.start % c for s, c in zip(region.box, core, strict=True)]))
    scale = predictor.form.scale
    for product in target.products:
        if run.lacks(product.name, target.step):
            _create(run, given, product, scale, grid)
    apart = _sharing(grid, scale, open_array(run.path, target.products[0].name).chunks or core)
    stream = None if isinstance(pool, Cluster) else _streaming(predictor, run, given, target)
    del predictor  # the workers of a cluster load their own

    def compute(blocks: Grid | Subset) -> None:
        if stream is not None:
            run_stream(target.step, blocks, stream, run.ledger, progress=progress)
            return
        work = PredictBlock(run.path, given, inference, target, core)
        chosen = pool.needing(GPU=0.5) if target.on_gpus and isinstance(pool, Cluster) else pool
        run_blocks(target.step, blocks, work, run.ledger, pool=chosen, progress=progress, apart=apart)

    if cascade is None:
        compute(grid)
        return None
    chooser = CascadeChooser(run, given, cascade, inference, pool, progress)
    return _follow(chooser, grid, target, compute)


def _follow(
    chooser: CascadeChooser, grid: Grid, target: Target, compute: Callable[[Grid | Subset], None]
) -> Selection:
    """Compute the tiles that the cascade chose; then, round by round, those into which objects lead."""
    numbers = new = chooser.first(grid)
    compute(Subset(grid, numbers))
    while target.has_affinities:  # an axon is followed by one tile a round, to its end
        new = chooser.called_back(Selection(grid, numbers), new, target.products[0].name)
        if not len(new):
            break
        log.info("cascade: %d tiles called back, objects lead into them", len(new))
        numbers = np.union1d(numbers, new)
        compute(Subset(grid, numbers))
    return Selection(grid, numbers)


def _settled_core(run: Run, predictor: Predictor, shape: IntTriple) -> IntTriple:
    """Cores by which the ledger counts blocks: those of the run's beginning, whatever the device now."""
    begun = run.ledger.noted("tiles")
    predictor.core = int_triple(begun) if begun else predictor.lattice(shape).core
    if not begun:
        run.ledger.note("tiles", list(predictor.core))
    return predictor.core


def _sharing(grid: Grid, scale: IntTriple, chunks: IntTriple) -> IntTriple:
    """How far from each other (in blocks) two can be that write to one chunk: 0 where tiles are whole chunks.

    Tiles lie on the volume's lattice, chunks on the region's, which may begin between.
    """
    z, y, x = (
        int(number > 1 and any(edge * f % c for edge in (start, core)))
        for number, start, core, f, c in zip(grid.counts, grid.start, grid.block, scale, chunks, strict=True)
    )
    return z, y, x


def _create(run: Run, given: NetworkInput, product: Product, scale: IntTriple, grid: Grid) -> None:
    region = given.region
    shape, core, start = (
        int_triple([n * f for n, f in zip(e, scale, strict=True)])
        for e in (region.shape, grid.block, grid.start)
    )
    lead = () if isinstance(product.channels, int) else (product.channels.stop - product.channels.start,)
    size = triple([v / f for v, f in zip(region.volume.voxel_size, scale, strict=True)])
    create_array(
        run.path,
        product.name,
        shape=(*lead, *shape),
        dtype=np.dtype(product.dtype),
        chunks=_chunks(core, start, shape),
        voxel_size=size,
        offset=region.offset,
        attributes=product.attributes,
    )


def _streaming(predictor: Predictor, run: Run, given: NetworkInput, target: Target) -> Callable[..., None]:
    region, volume = given.region, given.region.volume
    arrays = _open(run.path, target)
    scale = predictor.form.scale

    def stream(
        blocks: list[Block],
        done: Callable[[Block, float], None],
        failed: Callable[[Block, Exception], None],
    ) -> None:
        began = time.perf_counter()

        def write(index: int, values: NDArray[Any]) -> None:
            nonlocal began
            box = blocks[index].box
            target.write(arrays, scaled(box, scale), values, region.in_volume(box))
            began, before = time.perf_counter(), began
            done(blocks[index], began - before)

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
    core: IntTriple

    def __call__(self, block: Block) -> None:
        """Read, predict and write the block."""
        from distributed import secede

        with _AHEAD:
            secede()  # lets the worker begin the next block
            predictor = self._loaded()
            region, volume = self.given.region, self.given.region.volume
            box = region.in_volume(block.box)
            values = predictor.predict_box(volume.read_box, volume.shape, box, _TURN)
            arrays, finer = _open(self.path, self.target), scaled(block.box, predictor.form.scale)
            self.target.write(arrays, finer, values, box)

    def _loaded(self) -> Predictor:
        volume = self.given.region.volume
        settings = (self.inference.model_dump_json(), self.target.samples, self.core)
        key = (self.given.model.sha256, settings, volume.name, volume.shape)
        with _LOADING:
            if _kept.get("key") != key:
                _kept.clear()
                _kept.update(key=key, predictor=_predictor(self.given, self.inference, self.target.samples))
                _kept["predictor"].core = self.core
            predictor: Predictor = _kept["predictor"]
            return predictor


_kept: dict[str, Any] = {}  # the network that this process loaded last, and what for

_LOADING, _TURN, _AHEAD = threading.Lock(), threading.Lock(), threading.Semaphore(2)  # blocks


def _open(path: Place, target: Target) -> dict[str, Volume]:
    return {product.name: open_array(path, product.name) for product in target.products}


def _predictor(given: NetworkInput, inference: InferenceSettings, samples: int) -> Predictor:
    volume = given.region.volume
    return predictor_for(given.model, inference, volume.read_box, volume.shape, CHUNK // 2, samples)


def _chunks(core: IntTriple, start: IntTriple, shape: IntTriple) -> IntTriple:
    """Chunks of which blocks are made; smaller ones where the region begins between large ones."""

    def edge(core: int, start: int) -> int:
        whole = [e for e in (CHUNK, *range(CHUNK * 3 // 2, CHUNK // 2 - 1, -1)) if core % e == 0]
        return next((e for e in whole if start % e == 0), whole[0] if whole else core)

    z, y, x = (min(n, edge(c, s)) for c, s, n in zip(core, start, shape, strict=True))
    return z, y, x
