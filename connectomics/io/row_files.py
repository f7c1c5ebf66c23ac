"""Rows dealt into numbered files, so that each part can be worked on by itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.io.place import Place, RemotePath, as_place, read_each, remove_all

_REPLACED = "000000"
"""The one object of a part that was written anew."""

BUFFER_BYTES = 32e6
"""Rows wait in memory until there are this many, since files are many and rows come in small pieces."""


class RowFiles:
    """Files of rows under one folder; part `n` has a file for each column, ``n.COLUMN``.

    Objects in a bucket cannot grow: there each flush makes new ones, ``n.COLUMN/k``, read in order.

    Parameters
    ----------
    folder
        Made when it does not exist.
    columns
        The dtype of each column.
    """

    def __init__(self, folder: str | Place, columns: Mapping[str, Any]) -> None:
        self.folder = as_place(folder)
        self.columns = {name: np.dtype(dtype) for name, dtype in columns.items()}
        self._waiting: dict[tuple[int, str], list[NDArray[Any]]] = {}
        self._bytes, self._flushes = 0, 0

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
        for (part, name), pieces in self._waiting.items():
            data = b"".join(piece.tobytes() for piece in pieces)
            path = self._path(part, name)
            if isinstance(path, RemotePath):
                (path / f"{self._flushes:06d}").write_bytes(data)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(data)
        self._waiting, self._bytes, self._flushes = {}, 0, self._flushes + 1

    def replace(self, part: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write a part anew."""
        for name, dtype in self.columns.items():
            path, data = self._path(part, name), np.ascontiguousarray(columns[name], dtype).tobytes()
            if isinstance(path, RemotePath):
                old = [piece for piece in path.glob("*") if piece.name != _REPLACED]
                (path / _REPLACED).write_bytes(data)
                remove_all(old)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def read(self, part: int) -> dict[str, NDArray[Any]]:
        """The rows of a part, column by column; none where nothing was added."""
        return {name: self._column(part, name) for name in self.columns}

    def _column(self, part: int, name: str) -> NDArray[Any]:
        path, dtype = self._path(part, name), self.columns[name]
        if isinstance(path, RemotePath):
            pieces = read_each(sorted(path.glob("*"), key=str), lambda piece: piece.read_bytes())
            return np.frombuffer(b"".join(pieces), dtype).copy()
        try:
            return np.fromfile(path, dtype)
        except FileNotFoundError:
            return np.zeros(0, dtype)

    def _path(self, part: int, name: str) -> Place:
        return self.folder / f"{part:06d}.{name}"
