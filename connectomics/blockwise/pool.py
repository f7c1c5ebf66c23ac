"""Where block functions run: threads of this process, or the workers of a Dask cluster."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from connectomics.blockwise.grid import Block
from connectomics.blockwise.task_names import TaskNames, forget_tasks
from connectomics.errors import RunFailed

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

Work = Callable[[Block], Any]
Submit = Callable[[Block], "Future[Any]"]


class Pool(Protocol):
    """Takes a block function, then blocks, and gives futures."""

    @property
    def size(self) -> int:
        """How many blocks it can work on at once."""

    @property
    def patience(self) -> float | None:
        """Seconds after which a block that is still out is given out again; None: never."""

    @property
    def deaths(self) -> tuple[type[BaseException], ...]:
        """Errors that tell of the death of workers, not of the block."""

    def check(self) -> None:
        """Raise `RunFailed` where no worker is left."""

    def serve(self, step: str, work: Work) -> AbstractContextManager[Submit]:
        """Make `work` ready; what is yielded runs it on a block."""


class Threads:
    """Threads of this process; block functions release the GIL in their hot loops.

    Parameters
    ----------
    size
        How many.
    """

    patience: float | None = None  # a thread cannot be lost
    deaths: tuple[type[BaseException], ...] = ()

    def __init__(self, size: int) -> None:
        self.size = size

    def check(self) -> None:
        """See `Pool`."""

    @contextmanager
    def serve(self, step: str, work: Work) -> Iterator[Submit]:
        """See `Pool`."""
        with ThreadPoolExecutor(self.size, thread_name_prefix=step) as executor:
            try:
                yield lambda block: executor.submit(work, block)
            except BaseException:
                executor.shutdown(wait=True, cancel_futures=True)
                raise


class Cluster:
    """The workers of a Dask cluster: they get `work` once a step and one block at a time.

    A worker that dies gives its blocks back to the scheduler, which hands them to another. One that falls
    silent gets no more blocks, as long as there are others.

    Parameters
    ----------
    client
        Connected to the scheduler.
    patience
        Seconds after which a silent block is given to another worker.
    resources
        What a worker must have to take the work, such as ``{"GPU": 1}``.
    """

    def __init__(
        self, client: "Client", patience: float | None = 600.0, resources: dict[str, float] | None = None
    ) -> None:
        self.client = client
        self.patience = patience
        self.resources = resources or {}
        self._silent: set[str] = set()

    @property
    def size(self) -> int:
        """Threads of all workers that may take the work, at least one; where it needs a resource, workers."""
        return max(1, sum(self._able().values()))

    def _able(self) -> dict[str, int]:
        """The workers that are there now and have what the work needs, with the blocks each does at once."""
        if not self.resources:
            return dict(self.client.nthreads())
        known = self.client.scheduler_info(n_workers=-1)["workers"]
        has = {worker: facts.get("resources") or {} for worker, facts in known.items()}
        needs = self.resources.items()
        return {w: 1 for w, there in has.items() if all(there.get(name, 0) >= n for name, n in needs)}

    @property
    def deaths(self) -> tuple[type[BaseException], ...]:
        """See `Pool`."""
        from distributed import KilledWorker

        return (KilledWorker,)

    def check(self) -> None:
        """See `Pool`."""
        if not self._able():
            needed = f" with {', '.join(self.resources)}" if self.resources else ""
            raise RunFailed(
                f"no worker{needed} is left, and none came in {self.patience:.0f} s. "
                "Start workers and run the same command again to go on."
            )

    def needing(self, **resources: float) -> "Cluster":
        """The same workers, as far as they have these Dask resources."""
        return Cluster(self.client, self.patience, self.resources | resources)

    @contextmanager
    def serve(self, step: str, work: Work) -> Iterator[Submit]:
        """See `Pool`."""
        import cloudpickle

        # kept by the scheduler and not by a worker, which might hang or die and take it along
        names = TaskNames(self.client, step)
        name = names.new()
        self.client.set_metadata(name, cloudpickle.dumps(work))
        executor: Any = self.client.get_executor()
        running: dict[Future[Any], None] = {}
        keys: dict[int, list[str]] = {}  # of the blocks that are out; Dask's thread takes them away

        def submit(block: Block) -> "Future[Any]":
            key = names.new()
            future = executor.submit(
                _call, name, block, key=key, **self._placing({*keys.get(block.number, ())})
            )
            running[future] = None
            keys[block.number] = [*keys.get(block.number, ()), key]

            def ended(future: "Future[Any]") -> None:
                running.pop(future, None)
                keys.pop(block.number, None)

            future.add_done_callback(ended)
            return future

        try:
            yield submit
        finally:
            for future in list(running):
                future.cancel()
            with suppress(OSError):  # the scheduler may be gone
                self.client.set_metadata(name, None)

    def _placing(self, earlier: set[str]) -> dict[str, Any]:
        """Where a block may go; workers that still keep it from an earlier time are silent ones."""
        placing: dict[str, Any] = {"resources": self.resources} if self.resources else {}
        if earlier:
            having = self.client.processing()
            keepers = {worker for worker, keys in having.items() if not earlier.isdisjoint(keys)}
            self._silent |= keepers
            if self._silent.issuperset(self._able()):  # the others get another chance
                self._silent = keepers
        if self._silent:
            others = [worker for worker in self._able() if worker not in self._silent]
            placing |= {"workers": others} if others else {}
        return placing


_functions: dict[str, Work] = {}
"""The block function that this worker got last, by the name of its step's run."""

_guard = threading.Lock()


def _call(name: str, block: Block) -> Any:
    with _guard:
        if name not in _functions:
            import cloudpickle
            from distributed import get_worker
            from distributed.utils import sync

            worker = get_worker()
            _functions.clear()
            _functions[name] = cloudpickle.loads(
                sync(worker.loop, worker.scheduler.get_metadata, keys=[name], default=None)
            )
        work = _functions[name]
    forget_tasks()
    return work(block)
