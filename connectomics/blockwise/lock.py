"""One live run per output: a lock file with host, pid, start and a heartbeat."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from connectomics.errors import BusyError, ConnectomicsError
from connectomics.io.files import read_json, write_json
from connectomics.io.place import Place, RemotePath

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0

log = logging.getLogger(__name__)


class Lock:
    """Hold the output for the time of a run; use as a context manager.

    Parameters
    ----------
    path
        The lock file.

    Raises
    ------
    BusyError
        On entering, when another live run holds the output.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._mine = {"host": socket.gethostname(), "pid": os.getpid(), "start": time.time()}
        self.lost = threading.Event()  # set when another run has taken the output over

    def __enter__(self) -> Self:
        self._take()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)
        self._thread.start()
        return self

    def _take(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:  # exclusive creation decides between two runs that start at once
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            with self._one_at_a_time():
                self._take_over()
        else:
            self._renew()

    def _take_over(self) -> None:
        holder = read_holder(self.path)
        if holder is None and (_is_new(self.path) or not self.path.exists()):  # given back just now
            raise self._starting()
        if holder is not None and alive(holder):
            raise busy(self.path.parent, holder)
        log.warning("taking over the lock of a run that is gone: %s", holder)
        self._renew()

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Keep others from taking the lock over meanwhile: two could find the same holder gone."""
        claim = self.path.with_name(f"{self.path.name}.claim")
        try:
            os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            if not _is_new(claim):  # of a run that died while it took over; the next attempt gets through
                claim.unlink(missing_ok=True)
            raise self._starting() from None
        try:
            yield
        finally:
            claim.unlink(missing_ok=True)

    def _starting(self) -> BusyError:
        return BusyError(f"{self.path.parent}: another run is just starting on this output; try again.")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._give_back()

    def _give_back(self) -> None:
        holder = read_holder(self.path)
        if holder is None or self._is_mine(holder):
            self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        holder = read_holder(self.path)
        if holder is not None and not self._is_mine(holder) and alive(holder):
            self._lose()
        if not self.lost.is_set():
            self._renew()

    def _renew(self) -> None:
        write_json(self.path, self._mine | {"heartbeat": time.time()})

    def _is_mine(self, holder: dict[str, Any] | None) -> bool:
        return holder is not None and self._mine.items() <= holder.items()

    def _lose(self) -> None:
        self.lost.set()
        log.error("%s: another run has taken this output over; this one stops.", self.path.parent)

    def _keep_beating(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                self._beat()
            except (OSError, ConnectomicsError) as error:  # a full disk must not end the run by its lock
                log.warning("could not renew the lock: %s", error)


def lock_for(path: Place) -> "Lock":
    """The lock of an output: a file on disk, or an object in a bucket."""
    if isinstance(path, RemotePath):
        from connectomics.blockwise.bucket_lock import BucketLock

        return BucketLock(path)
    return Lock(path)


def is_held(path: Place) -> bool:
    """True when a live run holds the lock file at `path`."""
    holder = read_holder(path)
    return holder is not None and alive(holder)


def read_holder(path: Place) -> dict[str, Any] | None:
    """What a lock file says of who holds it; None where it says nothing or is damaged."""
    return as_holder(read_json(path))


def as_holder(found: Any) -> dict[str, Any] | None:
    """The holder that a lock names, if it is one."""
    whole = isinstance(found, dict) and {"host", "pid", "start", "heartbeat"} <= found.keys()
    return found if whole else None


def _is_new(path: Path) -> bool:
    """True when the file was made a moment ago; False too where it has gone."""
    try:
        return time.time() - path.stat().st_mtime < HEARTBEAT_SECONDS
    except FileNotFoundError:
        return False


def busy(output: Place, holder: dict[str, Any]) -> BusyError:
    """The error for an output that a live run holds."""
    return BusyError(
        f"{output}: another run (pid {holder['pid']} on {holder['host']}) is writing "
        "this output. Wait for it, or stop it."
    )


def alive(holder: dict[str, Any]) -> bool:
    """True while the run that wrote this lock lives, as far as one can tell from here."""
    if time.time() - float(holder["heartbeat"]) > STALE_SECONDS:
        return False
    if holder["host"] != socket.gethostname():
        return True
    try:
        # a recycled pid belongs to a process that started after the lock was taken
        return bool(psutil.Process(int(holder["pid"])).create_time() <= float(holder["start"]) + 1)
    except psutil.NoSuchProcess:
        return False
