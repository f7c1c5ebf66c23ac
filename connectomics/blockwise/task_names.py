"""Names of a step's tasks: how Dask groups them, and how it is kept from remembering each task for ever."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from connectomics.blockwise.release import give_back

if TYPE_CHECKING:
    from distributed import Client

REMEMBERED = 1000
"""Tasks after which the processes of a cluster forget those that are over."""

_SUBMITTED = {"type": "Future"}
"""What the scheduler notes of every task that came alone."""


def forget_tasks(dask_scheduler: Any = None) -> None:
    """Drop what Dask keeps in this process of each task that ever was, where that is much.

    It has a cache of what names begin with, with room for 100,000 that never come again (20 MB, in the
    scheduler, each worker and the client); and the scheduler's spans get a longer list with each task,
    without end. What is free between the living (small gaps add up over a million tasks) is given back, too.

    Parameters
    ----------
    dask_scheduler
        Given by Dask where this runs in the scheduler.
    """
    from dask.utils import key_split

    if key_split.cache_info().currsize >= REMEMBERED:
        key_split.cache_clear()
    if dask_scheduler is not None and "spans" in dask_scheduler.extensions:
        for span in dask_scheduler.extensions["spans"].spans.values():
            if span.metadata:
                noted = span.metadata["collections"]
                noted[:] = [collection for collection in noted if collection != _SUBMITTED]
    give_back()


class TaskNames:
    """Gives each task of a step a name of its own, and has the scheduler forget the tasks in time.

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
            forget_tasks()  # the client names them, too
            with suppress(OSError):  # where the scheduler is gone, the futures tell
                self._client.run_on_scheduler(forget_tasks)
        self._given += 1
        return f"{self._start}-{uuid4().hex}"
