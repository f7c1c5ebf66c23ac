"""The peak memory of a command and its descendants, as the maximum over time of their summed PSS."""

import threading
from types import TracebackType
from typing import Self

import psutil

SAMPLE_SECONDS = 0.1


class PeakMemory:
    """Samples memory every 100 ms while the body runs; use as a context manager.

    Parameters
    ----------
    pid
        The process to watch with its descendants; default: this one.

    Attributes
    ----------
    peak_bytes : int
        The largest sum of proportional set sizes (PSS) seen so far.
    """

    def __init__(self, pid: int | None = None) -> None:
        self.peak_bytes = 0
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, tree_bytes(self._process))
            if self._stop.wait(SAMPLE_SECONDS):
                return


def tree_bytes(process: psutil.Process) -> int:
    """Summed PSS of a process and its descendants, in bytes; 0 for those that are gone."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_pss(member) for member in family)


def _pss(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return int(getattr(memory, "pss", memory.rss))
