"""Run a function over the blocks of a region: resumable, retriable, honest about failures."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from connectomics.blockwise.grid import Block, Grid, Subset
from connectomics.blockwise.ledger import Failure, Ledger
from connectomics.blockwise.pool import Pool, Threads
from connectomics.blockwise.progress import Progress, Silent
from connectomics.blockwise.window import Window
from connectomics.errors import ConnectomicsError, InputError, NoSpaceError, RunFailed
from connectomics.io.staging import unwritable
from connectomics.roi import IntTriple

TELL_SECONDS = 5.0
"""How often the ledger is told which blocks are in flight, for `status`."""

log = logging.getLogger(__name__)

T = TypeVar("T")
BlockFunction = Callable[[Block], None]
StreamFunction = Callable[
    [Sequence[Block], Callable[[Block, float], None], Callable[[Block, Exception], None]], None
]


def run_blocks(
    step: str,
    grid: Grid | Subset,
    function: BlockFunction,
    ledger: Ledger,
    *,
    pool: Pool | None = None,
    progress: Progress | None = None,
    apart: IntTriple = (0, 0, 0),
) -> None:
    """Call `function` on every block that the ledger does not call done.

    Blocks are independent: a block that fails is recorded and the others go on. At most two blocks per
    worker are in flight, so memory does not grow with their number, here or in a scheduler.

    Parameters
    ----------
    step
        Name of the step in the ledger.
    grid
        The blocks; all of a grid, or some.
    function
        Reads its own input with its own halo, writes its own output; must be repeatable.
    ledger
        Where done and failed blocks are recorded.
    pool
        Where it runs; one thread of this process by default.
    progress
        Told of every finished block.
    apart
        Blocks no farther from each other than this along every axis (zyx, in blocks) never run at the same
        time: those whose writes would meet in one chunk. Default: any may.

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
        window = Window(submit, pending.spread(apart), pool, apart)
        told = time.monotonic()
        for block, result in window.finished():
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                ledger.note(f"running-{step}", window.running)
            if isinstance(result, Exception):
                failed(block, result)
            elif isinstance(result, BaseException):
                raise result
            else:
                done(block, result)


def map_blocks(
    step: str,
    grid: Grid | Subset,
    function: Callable[[Block], T],
    pool: Pool,
    progress: Progress | None = None,
) -> Iterator[T]:
    """What `function` returns for each block, in order of completion; nothing is recorded.

    For work whose result is small and whose failure makes the whole meaningless: the first error ends it.
    """
    watcher = progress or Silent()
    watcher.start(step, len(grid), 0)
    with pool.serve(step, function) as submit:
        for block, result in Window(submit, grid, pool).finished():
            if isinstance(result, Exception) and not isinstance(result, ConnectomicsError):
                raise RunFailed(f"{step}, {block.name}: {type(result).__name__}: {result}") from result
            if isinstance(result, BaseException):
                raise result
            watcher.advance(step)
            yield result
    watcher.finish(step)


class Timed:
    """A block function that returns the seconds it took."""

    def __init__(self, function: BlockFunction) -> None:
        self.function = function

    def __call__(self, block: Block) -> float:
        """Run it."""
        start = time.perf_counter()
        self.function(block)
        return time.perf_counter() - start


def run_stream(
    step: str,
    grid: Grid | Subset,
    function: StreamFunction,
    ledger: Ledger,
    *,
    progress: Progress | None = None,
) -> None:
    """Like `run_blocks`, for a function that takes all pending blocks and overlaps its own stages.

    `function` is called once with the pending blocks, a callback for each block whose data is written
    (with its seconds), and a callback for each that failed.
    """
    with _recorded(step, grid, ledger, progress) as (pending, done, failed):
        if pending:
            function(pending, done, failed)


Recorded = tuple[Subset, Callable[[Block, float], None], Callable[[Block, Exception], None]]


@contextmanager
def _recorded(
    step: str, grid: Grid | Subset, ledger: Ledger, progress: Progress | None
) -> Iterator[Recorded]:
    watcher = progress or Silent()
    pending, before = _pending(step, grid, ledger)
    failures: list[tuple[Failure, Exception]] = []
    watcher.start(step, len(grid), before)
    if pending:
        ledger.note(f"plan-{step}", {"blocks": len(grid), "began": time.time(), "done": before})

    def done(block: Block, seconds: float) -> None:
        ledger.check_held()
        try:
            ledger.mark_done(step, block.number, block.name, seconds)
        except OSError as error:
            failed(block, error)
        else:
            watcher.advance(step)

    def failed(block: Block, error: Exception) -> None:
        full = unwritable(error, "its record") if isinstance(error, OSError) else error
        if isinstance(full, NoSpaceError):  # the others would fail as well, and be computed for nothing
            raise NoSpaceError(f"{step}, {block.name}: {full}")
        log.error("%s, %s failed: %s", step, block.name, error)
        failures.append((ledger.mark_failed(step, block.number, block.name, error), error))
        watcher.advance(step)

    try:
        yield pending, done, failed
    finally:
        watcher.finish(step)
    if failures:
        _raise_failures(step, len(grid), failures)
    if left := len(grid) - before - len(pending):
        raise RunFailed(
            f"{step}: the blocks that had failed are done, {left} others were never begun. "
            "Run the same command without --retry-failed to do them."
        )


def _pending(step: str, grid: Grid | Subset, ledger: Ledger) -> tuple[Subset, int]:
    """The blocks to do, and how many are done."""
    left = grid.without(ledger.done(step))
    done = len(grid) - len(left)
    failed = [failure.block for failure in ledger.failures(step)] if ledger.failed_only else []
    if failed:
        return Subset(left.grid, np.array(failed, np.int64)), done
    return left, done


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
