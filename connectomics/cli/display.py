"""What a terminal shows of a long step: blocks, rate, time left and memory."""

import logging
import sys
import threading
import time
from types import TracebackType
from typing import Self

import psutil
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LOG_EVERY_SECONDS = 15.0
"""How often a step says where it is when the output is no terminal."""


class Display:
    """Draws the progress of steps on standard error; use as a context manager.

    Parameters
    ----------
    quiet
        Draw nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True)
        self.quiet = quiet
        self._live = self.console.is_terminal and not quiet
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[memory]}"),
            console=self.console,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._units: dict[str, str] = {}
        self._counts: dict[str, tuple[int, int, int, float]] = {}
        self._told = 0.0
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start(self, step: str, total: int, done: int, unit: str = "blocks") -> None:
        """A step begins."""
        with self._guard:
            self._units[step] = unit
            self._counts[step] = (done, done, total, time.monotonic())
            self._tasks[step] = self._bars.add_task(step, total=total, completed=done, rate="", memory="")
            if done:
                self._say(f"{step}: {done} of {total} {unit} were done before")

    def advance(self, step: str, units: int = 1) -> None:
        """More units are finished."""
        with self._guard:
            first, now, total, began = self._counts[step]
            now += units
            self._counts[step] = (first, now, total, began)
            rate = (now - first) / max(1e-6, time.monotonic() - began)
            memory = psutil.Process().memory_info().rss / 1e9
            self._bars.update(
                self._tasks[step], completed=now, rate=f"{rate:.2f}/s", memory=f"{memory:.1f} GB"
            )
            if time.monotonic() - self._told > LOG_EVERY_SECONDS:
                left = (total - now) / rate
                unit = self._units[step]
                self._say(f"{step}: {now} of {total} {unit}, {left:.0f} s left, {memory:.1f} GB")

    def finish(self, step: str) -> None:
        """The step is over."""
        with self._guard:
            first, now, total, began = self._counts[step]
            if now > first:
                seconds = time.monotonic() - began
                self._say(f"{step}: {now} of {total} {self._units[step]} in {seconds:.1f} s")

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        if not self._live and not self.quiet:
            self.console.print(text, highlight=False, soft_wrap=True)


def set_up_logging(verbose: bool, quiet: bool) -> None:
    """Send log records to standard error: with `verbose` all of ours, with `quiet` errors alone."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
    handler = RichHandler(console=Console(file=sys.stderr), show_path=False, show_time=verbose)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s", force=True)
    logging.getLogger("connectomics").setLevel(level)
