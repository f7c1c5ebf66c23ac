"""One live run per output in a bucket: a lock object taken, renewed and taken over by conditional writes."""

import json
import logging
import time
from typing import Any

from connectomics.blockwise.lock import Lock, alive, as_holder, busy
from connectomics.errors import BusyError, ConnectomicsError
from connectomics.io.place import RemotePath, Version

ATTEMPTS = 5

log = logging.getLogger(__name__)


class BucketLock(Lock):
    """Hold an output in a bucket for the time of a run; use as a context manager.

    The object is created only where there is none, and replaced only in the version that was read, so of two
    runs that start at once one is refused. A store that knows no conditional writes is written plainly, with
    a warning.

    Parameters
    ----------
    place
        The lock object.

    Raises
    ------
    BusyError
        On entering, when another live run holds the output.
    """

    def __init__(self, place: RemotePath) -> None:
        super().__init__("lock.json")
        self.place = place
        self._version: Version = {}

    def _take(self) -> None:
        from obstore.exceptions import AlreadyExistsError

        for _ in range(ATTEMPTS):
            try:
                return self._write("create", AlreadyExistsError)
            except AlreadyExistsError:
                pass
            try:
                data, version = self.place.read_version()
            except FileNotFoundError:  # given back in between
                continue
            holder = _holder(data)
            if self._is_mine(holder):  # written by us, and the answer was lost
                self._version = version
                return
            if holder is not None and alive(holder):
                raise busy(self.place.parent, holder)
            log.warning("taking over the lock of a run that is gone: %s", holder)
            if self._replace(version):
                return
        raise BusyError(f"{self.place.parent}: another run is just starting on this output.")

    def _beat(self) -> None:
        if self.lost.is_set() or self._replace(self._version):
            return
        try:
            data, version = self.place.read_version()
        except FileNotFoundError:
            data, version = b"", {}
        if self._is_mine(_holder(data)):  # an earlier beat got there, and its answer was lost
            self._version = version
            return
        self.lost.set()
        log.error(
            "%s: nothing was heard of this run, so another has taken the output over; this one stops.",
            self.place.parent,
        )

    def _give_back(self) -> None:
        try:
            data, _ = self.place.read_version()
            if self._is_mine(_holder(data)):
                self.place.remove()
        except FileNotFoundError:
            return
        except ConnectomicsError as error:  # it goes stale by itself; tell what ended the run
            log.warning("could not give the lock back: %s", error)

    def _replace(self, version: Version) -> bool:
        """Write the lock over that version; False where another version is there by now."""
        from obstore.exceptions import PreconditionError

        try:
            self._write(version, PreconditionError)
        except PreconditionError:
            return False
        return True

    def _write(self, mode: str | Version, refusal: type[Exception]) -> None:
        data = json.dumps(self._mine | {"heartbeat": time.time()}, indent=1, sort_keys=True).encode()
        try:
            self._version = self.place.write_bytes(data, mode, refusal, NotImplementedError)
        except NotImplementedError:
            if mode == "create":
                if self.place.is_file():
                    raise refusal from None
                log.warning(
                    "%s: the store knows no conditional writes; two runs that start in the same second are "
                    "not told apart",
                    self.place.parent,
                )
            self._version = self.place.write_bytes(data)


def _holder(data: bytes) -> dict[str, Any] | None:
    try:
        return as_holder(json.loads(data))
    except ValueError:
        return None
