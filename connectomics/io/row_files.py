"""Rows dealt into numbered files, so that each part can be worked on by itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUFFER_BYTES = 32e6
"""Rows wait in memory until there are this many, since files are many and rows come in small pieces."""


class RowFiles:
    """Files of rows under one folder; part `n` has a file for each column, ``n.COLUMN``.

    Parameters
    ----------
    folder
        Made when it does not exist.
    columns
        The dtype of each column.
    """

    def __init__(self, folder: str | Path, columns: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.columns = {name: np.dtype(dtype) for name, dtype in columns.items()}
        self._waiting: dict[tuple[int, str], list[NDArray[Any]]] = {}
        self._bytes = 0

    def append(self, part: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows to a part; they are in the file after `flush`."""
        for name, dtype in self.columns.items():
            piece = np.ascontiguousarray(columns[name], dtype)
            self._waiting.setdefault((part, name), []).append(piece)
            self._bytes += piece.nbytes
        if self._bytes > BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for (part, name), pieces in self._waiting.items():
            with self._path(part, name).open("ab") as file:
                for piece in pieces:
                    file.write(piece.tobytes())
        self._waiting, self._bytes = {}, 0

    def replace(self, part: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write a part anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, dtype in self.columns.items():
            self._path(part, name).write_bytes(np.ascontiguousarray(columns[name], dtype).tobytes())

    def read(self, part: int) -> dict[str, NDArray[Any]]:
        """The rows of a part, column by column; none where nothing was added."""
        return {name: self._column(part, name) for name in self.columns}

    def _column(self, part: int, name: str) -> NDArray[Any]:
        try:
            return np.fromfile(self._path(part, name), self.columns[name])
        except FileNotFoundError:
            return np.zeros(0, self.columns[name])

    def _path(self, part: int, name: str) -> Path:
        return self.folder / f"{part:06d}.{name}"
