"""Read ahead, run the network, write behind: three stages at once, with bounded queues between them."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ConnectomicsError
from connectomics.inference.engines import Form
from connectomics.inference.tiles import Box, Tile, TileLattice, common_part, scaled
from connectomics.roi import IntTriple

POLL_SECONDS = 0.1
TILES_AHEAD = 2
BLOCKS_BEHIND = 1


@dataclass
class Call:
    """One tile on its way to the network, or the error that kept it from being read."""

    index: int
    box: Box
    tile: Tile | None
    last: bool
    source: NDArray[np.float32] | None = None
    error: Exception | None = None


@dataclass
class Stages:
    """What the three stages do; each runs in one thread of its own, the network in the caller's.

    Attributes
    ----------
    load : callable
        Reads and normalises a tile.
    run : callable
        Runs the network on what `load` gave.
    done, failed : callable
        Take the block number and its values, or its error; called one at a time, from the writer thread.
    """

    load: Callable[[Tile], NDArray[np.float32]]
    run: Callable[[NDArray[np.float32]], NDArray[Any]]
    done: Callable[[int, NDArray[Any]], None]
    failed: Callable[[int, Exception], None]
    stop: threading.Event = field(default_factory=threading.Event)
    fatal: list[BaseException] = field(default_factory=list)


def run_stream(lattice: TileLattice, form: Form, boxes: Iterable[Box], stages: Stages) -> None:
    """Predict every box of input voxels; the errors of one box go to `failed` and the others go on.

    An interrupt, or an error of `boxes` or `failed` themselves, stops all stages: what is being written is
    finished, what waits is dropped.
    """
    calls: queue.Queue[Call | None] = queue.Queue(TILES_AHEAD)
    results: queue.Queue[tuple[int, Any] | None] = queue.Queue(BLOCKS_BEHIND)
    reader = threading.Thread(target=_read, args=(lattice, boxes, stages, calls), name="tile reader")
    writer = threading.Thread(target=_write, args=(stages, results), name="block writer")
    reader.start()
    writer.start()
    finished = False
    try:
        _predict(form, stages, calls, results)
        _put(results, None, stages.stop)
        while writer.is_alive():
            writer.join(POLL_SECONDS)
        finished = True
    finally:
        if not finished:
            stages.stop.set()
        reader.join()
        writer.join()
    if stages.fatal:
        raise stages.fatal[0]


def _read(
    lattice: TileLattice, boxes: Iterable[Box], stages: Stages, calls: "queue.Queue[Call | None]"
) -> None:
    try:
        for call in _calls(lattice, boxes):
            if call.tile is not None:
                try:
                    call.source = stages.load(call.tile)
                except Exception as error:
                    call.error = error
            if not _put(calls, call, stages.stop):
                return
        _put(calls, None, stages.stop)
    except BaseException as error:
        stages.fatal.append(error)
        stages.stop.set()


def _calls(lattice: TileLattice, boxes: Iterable[Box]) -> Iterator[Call]:
    for index, box in enumerate(boxes):
        try:
            tiles = list(lattice.tiles(box))
        except ConnectomicsError as error:
            yield Call(index, box, None, True, error=error)
            continue
        for number, tile in enumerate(tiles, 1):
            yield Call(index, box, tile, number == len(tiles))


def _predict(
    form: Form,
    stages: Stages,
    calls: "queue.Queue[Call | None]",
    results: "queue.Queue[tuple[int, Any] | None]",
) -> None:
    block: NDArray[Any] | None = None
    error: Exception | None = None
    while (call := _get(calls, stages.stop)) is not None:
        error = error or call.error
        if error is None and call.tile is not None and call.source is not None:
            try:
                if block is None:
                    block = form.empty(call.box)
                paste(block, call.box, call.tile, stages.run(call.source), form.scale)
            except Exception as problem:
                error = problem
        if call.last:
            _put(results, (call.index, error or block), stages.stop)
            block, error = None, None


def paste(
    block: NDArray[Any], box: Box, tile: Tile, values: NDArray[Any], scale: IntTriple = (1, 1, 1)
) -> None:
    """Copy what a tile decides into a block: its core, cut to `box`, without its context.

    Block and values are `scale` times finer than box and tile.
    """
    core, target = (scaled(part, scale) for part in common_part(tile.core, box))
    inner = scaled(tile.inner, scale)
    block[(slice(None), *target)] = values[(slice(None), *inner)][(slice(None), *core)]


def _write(stages: Stages, results: "queue.Queue[tuple[int, Any] | None]") -> None:
    try:
        while (item := _get(results, stages.stop)) is not None:
            index, value = item
            if isinstance(value, Exception):
                stages.failed(index, value)
                continue
            try:
                stages.done(index, value)
            except Exception as error:
                stages.failed(index, error)
            del item, value
    except BaseException as error:
        stages.fatal.append(error)
        stages.stop.set()


def _put(target: "queue.Queue[Any]", item: Any, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            target.put(item, timeout=POLL_SECONDS)
            return True
        except queue.Full:
            continue
    return False


def _get(source: "queue.Queue[Any]", stop: threading.Event) -> Any:
    while not stop.is_set():
        try:
            return source.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
    return None
