"""Run a function over the blocks of a region: resumable, retriable, honest about failures."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager

from connectomics.blockwise.grid import Block, Grid
from connectomics.blockwise.ledger import Failure, Ledger
from connectomics.blockwise.pool import Pool, Submit, Threads
from connectomics.blockwise.progress import Progress, Silent
from connectomics.errors import InputError, RunFailed

TELL_SECONDS = 5.0
"""How often the ledger is told which blocks are in flight, for `status`."""

log = logging.getLogger(__name__)

BlockFunction = Callable[[Block], None]
StreamFunction = Callable[
    [list[Block], Callable[[Block, float], None], Callable[[Block, Exception], None]], None
]


def run_blocks(
    step: str,
    grid: Grid,
    function: BlockFunction,
    ledger: Ledger,
    *,
    pool: Pool | None = None,
    progress: Progress | None = None,
) -> None:
    """Call `function` on every block that the ledger does not call done.

    Blocks are independent: a block that fails is recorded and the others go on. At most two blocks per
    worker are in flight, so memory does not grow with their number, here or in a scheduler.

    Parameters
    ----------
    step
        Name of the step in the ledger.
    grid
        The blocks.
    function
        Reads its own input with its own halo, writes its own output; must be repeatable.
    ledger
        Where done and failed blocks are recorded.
    pool
        Where it runs; one thread of this process by default.
    progress
        Told of every finished block.

    Raises
    ------
    RunFailed
        Some blocks failed; the message names them. A rerun does only those.
    InputError
        Every block failed because of the input: nothing could be done with it.
    """

    pool = pool or Threads(1)
    with (
        _recorded(step, grid, ledger, progress) as (pending, done, failed),
        pool.serve(step, Timed(function)) as submit,
    ):
        window = _Window(submit, pending, 2 * pool.size, pool.patience)
        told = time.monotonic()
        for block, future in window.finished():
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                ledger.note(f"running-{step}", sorted(one.number for one, _ in window.running.values()))
            if future.cancelled():  # nobody here cancels a block that is waited for
                raise RunFailed(f"{step}: the cluster was lost. Run the same command again to go on.")
            error = future.exception()
            if error is None:
                done(block, future.result())
            elif isinstance(error, Exception):
                failed(block, error)
            else:
                raise error


class Timed:
    """A block function that returns the seconds it took."""

    def __init__(self, function: BlockFunction) -> None:
        self.function = function

    def __call__(self, block: Block) -> float:
        """Run it."""
        start = time.perf_counter()
        self.function(block)
        return time.perf_counter() - start


class _Window:
    """A bounded number of blocks in flight; one that stays out too long is given out a second time."""

    def __init__(self, submit: Submit, pending: list[Block], limit: int, patience: float | None) -> None:
        self.submit = submit
        self.queue = iter(pending)
        self.limit = limit
        self.patience = patience
        self.running: dict[Future[float], tuple[Block, float]] = {}
        self.over: set[int] = set()
        self.again: set[int] = set()

    def finished(self) -> Iterator[tuple[Block, "Future[float]"]]:
        """Every block once, with the future that ended it."""
        self._fill()
        while self.running:
            ended, _ = wait(self.running, timeout=self.patience, return_when=FIRST_COMPLETED)
            for future in ended:
                block, _ = self.running.pop(future)
                twin = any(other.number == block.number for other, _ in self.running.values())
                spoilt = future.cancelled() or future.exception() is not None
                if block.number in self.over or (twin and spoilt):
                    continue
                self.over.add(block.number)
                yield block, future
            self._drop_twins()
            self._hurry()
            self._fill()

    def _fill(self) -> None:
        while len(self.running) < self.limit:
            block = next(self.queue, None)
            if block is None:
                return
            self._start(block)

    def _start(self, block: Block) -> None:
        self.running[self.submit(block)] = block, time.monotonic()

    def _drop_twins(self) -> None:
        for future, (block, _) in list(self.running.items()):
            if block.number in self.over:
                future.cancel()
                del self.running[future]

    def _hurry(self) -> None:
        if self.patience is None:
            return
        now = time.monotonic()
        for block, began in list(self.running.values()):
            if now - began > self.patience and block.number not in self.again:
                log.warning(
                    "%s: nothing heard of it for %.0f s; given to another worker", block.name, now - began
                )
                self.again.add(block.number)
                self._start(block)


def run_stream(
    step: str, grid: Grid, function: StreamFunction, ledger: Ledger, *, progress: Progress | None = None
) -> None:
    """Like `run_blocks`, for a function that takes all pending blocks and overlaps its own stages.

    `function` is called once with the pending blocks, a callback for each block whose data is written
    (with its seconds), and a callback for each that failed.
    """
    with _recorded(step, grid, ledger, progress) as (pending, done, failed):
        if pending:
            function(pending, done, failed)


Recorded = tuple[list[Block], Callable[[Block, float], None], Callable[[Block, Exception], None]]


@contextmanager
def _recorded(step: str, grid: Grid, ledger: Ledger, progress: Progress | None) -> Iterator[Recorded]:
    watcher = progress or Silent()
    finished = ledger.done(step)
    pending = [block for block in grid if block.number not in finished]
    failures: list[tuple[Failure, Exception]] = []
    watcher.start(step, len(grid), len(grid) - len(pending))
    if pending:
        ledger.note(f"plan-{step}", {"blocks": len(grid), "began": time.time(), "done": len(finished)})

    def done(block: Block, seconds: float) -> None:
        ledger.mark_done(step, block.number, block.name, seconds)
        watcher.advance(step)

    def failed(block: Block, error: Exception) -> None:
        log.error("%s, %s failed: %s", step, block.name, error)
        failures.append((ledger.mark_failed(step, block.number, block.name, error), error))
        watcher.advance(step)

    try:
        yield pending, done, failed
    finally:
        watcher.finish(step)
    if failures:
        _raise_failures(step, len(grid), failures)


def _raise_failures(step: str, total: int, failures: list[tuple[Failure, Exception]]) -> None:
    first = failures[0][0]
    if len(failures) == total and all(isinstance(error, InputError) for _, error in failures):
        raise InputError(f"{step}: no block could be done: {failures[0][1]}")
    named = "; ".join(f"{f.name}: {f.error}" for f, _ in failures[:5])
    more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
    raise RunFailed(
        f"{first.step}: {len(failures)} of {total} blocks failed: {named}{more}. "
        "The others are done; run the same command again to do only these."
    )
