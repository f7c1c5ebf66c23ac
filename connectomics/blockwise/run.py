"""Run a function over the blocks of a region: resumable, retriable, honest about failures."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from connectomics.blockwise.grid import Block, Grid
from connectomics.blockwise.ledger import Failure, Ledger
from connectomics.blockwise.progress import Progress, Silent
from connectomics.errors import InputError, RunFailed

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
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Call `function` on every block that the ledger does not call done.

    Blocks are independent: a block that fails is recorded and the others go on. At most two blocks per
    worker are in flight, so memory does not grow with their number.

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
    workers
        Threads; the functions release the GIL in their hot loops.
    progress
        Told of every finished block.

    Raises
    ------
    RunFailed
        Some blocks failed; the message names them. A rerun does only those.
    InputError
        Every block failed because of the input: nothing could be done with it.
    """

    def timed(block: Block) -> float:
        start = time.perf_counter()
        function(block)
        return time.perf_counter() - start

    with (
        _recorded(step, grid, ledger, progress) as (pending, done, failed),
        ThreadPoolExecutor(workers, thread_name_prefix=step) as pool,
    ):
        running: dict[Future[float], Block] = {}
        queue = iter(pending)
        try:
            _submit(pool, timed, queue, running, 2 * workers)
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    block = running.pop(future)
                    error = future.exception()
                    if error is None:
                        done(block, future.result())
                    elif isinstance(error, Exception):
                        failed(block, error)
                    else:
                        raise error
                _submit(pool, timed, queue, running, 2 * workers)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


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


def _submit(
    pool: ThreadPoolExecutor,
    function: Callable[[Block], float],
    queue: Iterator[Block],
    running: dict[Future[float], Block],
    limit: int,
) -> None:
    while len(running) < limit:
        block = next(queue, None)
        if block is None:
            return
        running[pool.submit(function, block)] = block
