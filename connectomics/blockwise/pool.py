"""Where block functions run: threads of this process, or the workers of a Dask cluster."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from connectomics.blockwise.grid import Block

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
        """Seconds after which a block that others finished long ago is given out again; None: never."""

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

    def __init__(self, size: int) -> None:
        self.size = size

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

    A worker that dies gives its blocks back to the scheduler, which hands them to another.

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

    @property
    def size(self) -> int:
        """Threads of all workers that are there now, at least one."""
        return max(1, sum(self.client.nthreads().values()))

    def needing(self, **resources: float) -> "Cluster":
        """The same workers, as far as they have these Dask resources."""
        return Cluster(self.client, self.patience, self.resources | resources)

    @contextmanager
    def serve(self, step: str, work: Work) -> Iterator[Submit]:
        """See `Pool`."""
        import cloudpickle

        # a task and not scattered data: what a dead worker held is made again
        shared: Any = self.client.submit(_Shared, cloudpickle.dumps(work), pure=False)
        options: dict[str, Any] = {"resources": self.resources} if self.resources else {}
        executor: Executor = self.client.get_executor(pure=False, **options)
        running: set[Future[Any]] = set()

        def submit(block: Block) -> "Future[Any]":
            future = executor.submit(_call, shared, block)
            running.add(future)
            future.add_done_callback(running.discard)
            return future

        try:
            yield submit
        finally:
            for future in list(running):
                future.cancel()
            shared.release()


class _Shared:
    """A block function as bytes, unpacked once by each worker that gets it."""

    def __init__(self, data: bytes) -> None:
        import cloudpickle

        self.data = data
        self.work: Work = cloudpickle.loads(data)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Shared, (self.data,)


def _call(shared: _Shared, block: Block) -> Any:
    return shared.work(block)
