"""A bounded number of blocks in flight: silent ones are given out again, deadly ones tried again alone."""

import logging
import math
import queue
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from connectomics.blockwise.grid import Block
from connectomics.blockwise.pool import Pool, Submit
from connectomics.errors import RunFailed
from connectomics.roi import IntTriple

LOOK_SECONDS = 5.0
"""How often the number of workers is asked for: a cluster's queue may start more of them on the way."""

log = logging.getLogger(__name__)


@dataclass
class Flight:
    """A block that is out, since when, for how long to wait, and the futures of which the first ends it."""

    block: Block
    began: float
    patience: float
    futures: list["Future[Any]"] = field(default_factory=list)


class Window:
    """Hands blocks to workers, two to each, and says how each block ended.

    A block whose workers died is put aside and tried once more when nothing else is out: whatever was on
    a worker when it died is under suspicion, and only alone can the block that kills be told from the others.

    Parameters
    ----------
    submit
        Starts the work on a block.
    blocks
        Taken one by one.
    pool
        Whose workers these are.
    apart
        Blocks no farther from each other than this along every axis (zyx, in blocks) are never out together.
    """

    def __init__(
        self, submit: Submit, blocks: Iterable[Block], pool: Pool, apart: IntTriple = (0, 0, 0)
    ) -> None:
        self._submit = submit
        self._queue = iter(blocks)
        self._apart = apart
        self._held: Block | None = None
        self._pool = pool
        self._flights: dict[int, Flight] = {}
        self._numbers: dict[Future[Any], int] = {}
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._suspects: deque[Block] = deque()
        self._alone: set[int] = set()
        self._limit, self._looked, self._hurried = 0, 0.0, time.monotonic()

    @property
    def running(self) -> list[int]:
        """Numbers of the blocks that are out."""
        return sorted(self._flights)

    def finished(self) -> Iterator[tuple[Block, Any]]:
        """Every block once, with what its work returned or the error that ended it.

        Raises
        ------
        RunFailed
            The cluster was lost, or no worker was left for as long as the pool's patience.
        """
        self._fill()
        while self._flights:
            yield from self._next()
            self._hurry()
            self._fill()

    def _next(self) -> Iterator[tuple[Block, Any]]:
        patience = self._pool.patience
        try:
            future = self._ended.get(timeout=None if patience is None else patience / 4)
        except queue.Empty:
            return
        number = self._numbers.pop(future, None)
        if number is None:  # its twin was first
            return
        flight = self._flights[number]
        flight.futures.remove(future)
        if flight.futures and (future.cancelled() or isinstance(future.exception(), self._pool.deaths)):
            return  # its twin may live
        del self._flights[number]
        for twin in flight.futures:
            del self._numbers[twin]
            twin.cancel()
        if future.cancelled():  # nobody here cancels a block that is waited for
            raise RunFailed("the cluster was lost. Run the same command again to go on.")
        error = future.exception()
        if isinstance(error, self._pool.deaths):
            if number not in self._alone:
                log.warning("%s: its workers died; tried again alone at the end", flight.block.name)
                self._alone.add(number)
                self._suspects.append(flight.block)
                return
            error = WorkersDied(
                "every worker that had it died, also when it was alone. A worker without memory is killed: "
                "give the workers more memory, or look into their logs"
            )
        yield flight.block, future.result() if error is None else error

    def _fill(self) -> None:
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._limit, self._looked = 2 * self._pool.size, now
        while len(self._flights) < self._limit:
            block, self._held = self._held or next(self._queue, None), None
            if block is None:
                break
            if any(self._near(block, flight.block) for flight in self._flights.values()):
                self._held = block
                break
            self._start(self._flight(block))
        if not self._flights and self._suspects:
            self._start(self._flight(self._suspects.popleft()))

    def _near(self, one: Block, other: Block) -> bool:
        return any(self._apart) and all(
            abs(a - b) <= limit for a, b, limit in zip(one.index, other.index, self._apart, strict=True)
        )

    def _start(self, flight: Flight) -> None:
        future = self._submit(flight.block)
        flight.futures.append(future)
        self._flights[flight.block.number] = flight
        self._numbers[future] = flight.block.number
        future.add_done_callback(self._ended.put)

    def _flight(self, block: Block) -> Flight:
        # twice: of the two blocks that a worker has, one may wait for the other
        return Flight(block, time.monotonic(), 2 * (self._pool.patience or math.inf))

    def _hurry(self) -> None:
        now, patience = time.monotonic(), self._pool.patience
        if patience is None or now - self._hurried < patience / 4:
            return
        self._hurried = now
        late = [flight for flight in self._flights.values() if now - flight.began > flight.patience]
        if late:
            self._pool.check()
        for flight in late:
            log.warning(
                "%s: nothing heard of it for %.0f s; given to another worker",
                flight.block.name,
                now - flight.began,
            )
            flight.patience *= 2  # a block that is merely long must not fill the cluster with itself
            self._start(flight)


class WorkersDied(Exception):
    """Every worker that had the block died."""
