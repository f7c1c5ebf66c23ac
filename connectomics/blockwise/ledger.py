"""The ledger beside the output: one small JSON per block and step says what is done and what failed."""

import io
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.files import read_json, write_atomically, write_json

BLOCKS_PER_FOLDER = 1000


@dataclass(frozen=True)
class Failure:
    """A block that failed, and why."""

    step: str
    block: int
    name: str
    error: str


class Ledger:
    """The state of one command's run, kept in files under ``OUT.zarr/ledger/COMMAND``.

    A done-mark is written after the block's data, so a block without one is simply done again.

    Parameters
    ----------
    folder
        Where the records live; made on first write.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def _record(self, step: str, block: int) -> Path:
        return self.folder / step / f"{block // BLOCKS_PER_FOLDER:06d}" / f"{block:09d}.json"

    def done(self, step: str) -> set[int]:
        """Numbers of the blocks of `step` that are done."""
        return {r["block"] for r in self.records(step) if r["status"] == "done"}

    @property
    def empty(self) -> bool:
        """True when no block of any step is done."""
        return not any(self.done(path.name) for path in self.folder.glob("*/"))

    def failures(self, step: str) -> list[Failure]:
        """The blocks of `step` whose last attempt failed."""
        failed = [r for r in self.records(step) if r["status"] == "failed"]
        return [Failure(step, r["block"], r["name"], r["error"]) for r in failed]

    def records(self, step: str) -> list[dict[str, Any]]:
        """Every readable record of `step`, in block order."""
        paths = sorted((self.folder / step).glob("*/*.json"))
        return [record for record in map(read_json, paths) if record is not None]

    def mark_done(self, step: str, block: int, name: str, seconds: float) -> None:
        """Record that the data of a block is safely written."""
        record = {"status": "done", "block": block, "name": name, "seconds": round(seconds, 4)}
        write_json(self._record(step, block), record | {"finished": time.time()})

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

    def load_table(self, step: str, block: int, *names: str) -> dict[str, NDArray[Any]]:
        """The arrays that `save_table` kept, or those of these names: the others are not read."""
        with np.load(self._table(step, block), allow_pickle=False) as archive:
            return {name: archive[name] for name in names or archive.files}

    def _table(self, step: str, block: int) -> Path:
        return self._record(step, block).with_suffix(".npz")

    def drop_tables(self, step: str) -> None:
        """Delete what `save_table` kept for `step`, once the global result is written."""
        for path in (self.folder / step).glob("*/*.npz"):
            path.unlink(missing_ok=True)

    def note(self, name: str, value: Any) -> None:
        """Keep a named JSON value of the run (what was measured or chosen on the way)."""
        write_json(self.folder / f"{name}.json", value)

    def noted(self, name: str) -> Any:
        """A value kept by `note`, or None."""
        return read_json(self.folder / f"{name}.json")
