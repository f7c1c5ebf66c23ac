"""A command of the package in a process of its own: started, watched through its ledger, cancelled."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from connectomics.blockwise.status import read_status
from connectomics.errors import ConnectomicsError
from connectomics.io.locate import lies_in
from connectomics.pipeline.layer import Layer
from connectomics.pipeline.layers import open_layers
from connectomics.roi import Roi

POLL_SECONDS = 0.5
GRACE_SECONDS = 10.0
"""How long a run that was asked to stop may take before it is ended."""


@dataclass(frozen=True)
class Request:
    """What to run on what.

    Attributes
    ----------
    command : str
        "segment", "predict" or "translate".
    volume, out, model : str
        As on the command line.
    region : Roi, optional
        Part to work on; default: all.
    options : tuple of str
        Further words of the command line.
    """

    command: str
    volume: str
    out: str
    model: str
    region: Roi | None = None
    options: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The command line after ``connectomics``."""
        words = [self.command, self.volume, self.out, "--model", self.model]
        if self.region is not None:
            words += ["--roi-offset", *(f"{v:.15g}" for v in self.region.offset)]
            words += ["--roi-size", *(f"{v:.15g}" for v in self.region.size)]
        return [*words, *self.options]


@dataclass(frozen=True)
class Step:
    """How far one step of a run is, in blocks."""

    name: str
    done: int
    total: int
    failed: int = 0


@dataclass(frozen=True)
class Update:
    """What a run's watcher is told.

    Attributes
    ----------
    running : bool
        Whether it goes on.
    code : int, optional
        How it ended: 0 done, 1 some blocks failed, 2 wrong use, 130 cancelled.
    steps : tuple of Step
        In order of their first block.
    message : str
        Its last line: of a run that failed, what was wrong.
    layers : tuple of Layer
        What there is of the result, where that has changed since the last update.
    grown : bool
        More blocks are written.
    """

    running: bool
    code: int | None = None
    steps: tuple[Step, ...] = ()
    message: str = ""
    layers: tuple[Layer, ...] = ()
    grown: bool = False


@dataclass
class Job:
    """One run; `start` it, then go through `watch`."""

    words: Sequence[str]
    out: str
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: "subprocess.Popen[bytes] | None" = None
    _said: Path | None = None
    _cancelled: float | None = None

    def start(self) -> None:
        """Begin."""
        handle, name = tempfile.mkstemp(prefix="connectomics-", suffix=".log")
        self._said = Path(name)
        with os.fdopen(handle, "wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "connectomics.cli.main", *self.words],
                stdout=subprocess.DEVNULL,
                stderr=said,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "NO_COLOR": "1", **self.environment},
                start_new_session=True,  # its workers are ended with it
            )

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def cancel(self) -> None:
        """Ask it to stop; what is written stays, and the same command goes on there."""
        if self.running and self._cancelled is None:
            self._cancelled = time.monotonic()
            self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End it now, as when the window closes."""
        if self.running and self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._forget()

    def watch(self, every: float = POLL_SECONDS) -> Iterator[Update]:
        """What there is to tell, until the process has ended; runs in a thread of its own."""
        shown: tuple[tuple[str, int], ...] = ()
        done = -1
        while True:
            running = self.running
            if self._cancelled is not None and time.monotonic() - self._cancelled > GRACE_SECONDS:
                self.kill()
            began = time.monotonic()
            steps = self._steps()
            now_done = sum(step.done for step in steps)
            grown, done = now_done != done, now_done
            layers = self._layers() if grown or not running else ()
            signature = tuple((layer.location, len(layer.levels)) for layer in layers)
            changed = layers if signature != shown or not running else ()
            shown = signature or shown
            code = None if running or self._process is None else self._ended(self._process.returncode)
            yield Update(running, code, steps, self._message(), changed, grown)
            if not running:
                self._forget()
                return
            time.sleep(max(every, 4 * (time.monotonic() - began)))  # a ledger of many blocks takes its time

    def _ended(self, code: int) -> int:
        return 130 if self._cancelled is not None and code != 0 else code

    def _steps(self) -> tuple[Step, ...]:
        try:
            status = read_status(self.out)
        except (ConnectomicsError, OSError):  # not begun yet
            return ()
        return tuple(
            Step(
                name.partition(" / ")[2], said["done"], said.get("blocks", said["done"]), len(said["failed"])
            )
            for name, said in status.items()
            if isinstance(said, dict) and name.startswith(f"{self.words[0]} / ")
        )

    def _layers(self) -> tuple[Layer, ...]:
        """What is there of the output; none while it appears, or when there is not much yet."""
        try:
            found = open_layers(self.out)
        except (ConnectomicsError, OSError, KeyError):
            return ()
        return tuple(layer for layer in found if lies_in(layer.location, self.out))

    def _message(self) -> str:
        if self._said is None or not self._said.exists():
            return ""
        with self._said.open("rb") as said:
            end = said.seek(0, os.SEEK_END)
            said.seek(max(0, end - 4000))
            lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")

    def _forget(self) -> None:
        if self._said is not None:
            self._said.unlink(missing_ok=True)

    def _signal(self, number: int) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
