"""The ledger beside the output: one small JSON per block and step says what is done and what failed."""

import io
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import RunFailed
from connectomics.io.files import read_json, write_atomically, write_json
from connectomics.io.place import Place, RemotePath, as_place, read_each, remove, remove_all, subfolders

BLOCKS_PER_FOLDER = 1000

_AT_ONCE = 32
"""Tables read at once: those in a bucket are asked for together."""


@dataclass(frozen=True)
class Failure:
    """A block that failed, and why."""

    step: str
    block: int
    name: str
    error: str


class Ledger:
    """The state of one command's run, kept in files under ``OUT.zarr/ledger/COMMAND``.

    A done-mark is written after the block's data, so a block without one is simply done again. Every step
    has a folder of its own there, so its name holds no slash.

    Parameters
    ----------
    folder
        Where the records live; made on first write.
    failed_only
        In a step that has failed blocks, do those and no others.
    lost
        Set when another run has taken the output over.
    """

    def __init__(
        self, folder: str | Place, *, failed_only: bool = False, lost: threading.Event | None = None
    ) -> None:
        self.folder = as_place(folder)
        self.failed_only = failed_only
        self.lost = lost

    def __getstate__(self) -> dict[str, Any]:
        """What a worker on another machine needs; the lock stays with the run."""
        return self.__dict__ | {"lost": None}

    def check_held(self) -> None:
        """Raise RunFailed where another run has taken the output over: two must not write one graph."""
        if self.lost is not None and self.lost.is_set():
            raise RunFailed(f"{self.folder.parent.parent}: another run has taken this output over.")

    def _record(self, step: str, block: int) -> Place:
        if "/" in step:
            raise ValueError(f"step '{step}': its records would lie deeper than anybody looks for them")
        return self.folder / step / f"{block // BLOCKS_PER_FOLDER:06d}" / f"{block:09d}.json"

    def done(self, step: str) -> set[int]:
        """Numbers of the blocks of `step` that are done."""
        return {r["block"] for r in self._each(step) if r["status"] == "done"}

    @property
    def empty(self) -> bool:
        """True when no block of any step is done."""
        return not any(self.done(path.name) for path in subfolders(self.folder))

    def failures(self, step: str) -> list[Failure]:
        """The blocks of `step` whose last attempt failed."""
        failed = [r for r in self._each(step) if r["status"] == "failed"]
        return [Failure(step, r["block"], r["name"], r["error"]) for r in failed]

    @property
    def failed_steps(self) -> list[str]:
        """Steps that have a block whose last attempt failed."""
        return [path.name for path in subfolders(self.folder) if self.failures(path.name)]

    def records(self, step: str) -> list[dict[str, Any]]:
        """Every readable record of `step`, in block order."""
        return list(self._each(step))

    def _each(self, step: str) -> Iterator[dict[str, Any]]:
        """The same one folder at a time, so that memory does not grow with the number of blocks."""
        for folder in subfolders(self.folder / step):
            paths: list[Any] = sorted(folder.glob("*.json"))
            yield from (record for record in read_each(paths, read_json) if record is not None)

    def mark_done(self, step: str, block: int, name: str, seconds: float) -> None:
        """Record that the data of a block is safely written."""
        record = {"status": "done", "block": block, "name": name, "seconds": round(seconds, 4)}
        record |= {"finished": time.time()}
        # not pressed to the disk, as the block's data is not; a record that is lost costs a repetition
        write_json(self._record(step, block), record, durable=False)

    def mark_failed(self, step: str, block: int, name: str, error: BaseException) -> Failure:
        """Record that a block failed; a rerun tries it again."""
        text = f"{type(error).__name__}: {error}"
        record = {"status": "failed", "block": block, "name": name, "error": text, "finished": time.time()}
        record["traceback"] = "".join(traceback.format_exception(error))
        write_json(self._record(step, block), record)
        return Failure(step, block, name, text)

    def save_table(self, step: str, block: int, **arrays: NDArray[Any]) -> None:
        """Keep small arrays of one block (edge statistics, links) beside its record."""
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **arrays)
        write_atomically(self._table(step, block), stream.getvalue())

    def load_tables(self, step: str, blocks: Iterable[int], *names: str) -> Iterator[dict[str, NDArray[Any]]]:
        """What `load_table` gives for each of many blocks, a few of them in memory at a time."""
        for some in _batched(blocks, _AT_ONCE):
            yield from read_each(
                [self._table(step, block) for block in some], partial(_read_table, names=names)
            )

    def load_table(self, step: str, block: int, *names: str) -> dict[str, NDArray[Any]]:
        """The arrays that `save_table` kept, or those of these names: the others are not read."""
        return _read_table(self._table(step, block), names)

    def _table(self, step: str, block: int) -> Place:
        return self._record(step, block).with_suffix(".npz")

    def drop_tables(self, step: str) -> None:
        """Delete what `save_table` kept for `step`, once the global result is written."""
        folder = self.folder / step
        if isinstance(folder, RemotePath):
            remove_all(list(folder.glob("*/*.npz")))
            return
        for path in folder.glob("*/*.npz"):
            path.unlink(missing_ok=True)

    def forget(self, step: str) -> None:
        """Drop the records of a step whose output is made anew, so that all of its blocks are done again."""
        remove(self.folder / step)

    def note(self, name: str, value: Any) -> None:
        """Keep a named JSON value of the run (what was measured or chosen on the way)."""
        if "/" in name:
            raise ValueError(f"note '{name}': would be taken for one of a step")
        write_json(self.folder / f"{name}.json", value)

    def noted(self, name: str) -> Any:
        """A value kept by `note`, or None."""
        return read_json(self.folder / f"{name}.json")


def _read_table(path: Place, names: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    source = io.BytesIO(path.read_bytes()) if isinstance(path, RemotePath) else path
    with np.load(source, allow_pickle=False) as archive:
        return {name: archive[name] for name in names or archive.files}


def _batched(blocks: Iterable[int], size: int) -> Iterator[list[int]]:
    left = iter(blocks)
    while some := list(islice(left, size)):
        yield some
