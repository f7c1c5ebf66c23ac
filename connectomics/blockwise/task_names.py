"""Names of a step's tasks: how Dask groups them, and how it is kept from remembering every one."""

from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from distributed import Client

REMEMBERED = 1000
"""Names after which the processes of a cluster forget them."""


def forget_names() -> None:
    """Empty this process's cache of what the names of tasks begin with, where it is long.

    Dask gives it room for 100,000 names, and none comes again: 20 MB in the scheduler and in each worker.
    """
    from dask.utils import key_split

    if key_split.cache_info().currsize >= REMEMBERED:
        key_split.cache_clear()


class TaskNames:
    """Gives each task of a step a name of its own, and has the scheduler forget them in time.

    Parameters
    ----------
    client
        Connected to the scheduler.
    step
        What the names begin with.
    """

    def __init__(self, client: "Client", step: str) -> None:
        self._client = client
        # one dash: Dask groups tasks, and reckons their durations, by what stands before the last one
        self._start = step.replace("-", "_")
        self._given = 0

    def new(self) -> str:
        """The next name."""
        if self._given % REMEMBERED == 0:
            with suppress(OSError):  # where the scheduler is gone, the futures tell
                self._client.run_on_scheduler(forget_names)
        self._given += 1
        return f"{self._start}-{uuid4().hex}"
