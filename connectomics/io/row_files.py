"""Rows dealt into numbered files, so that each part can be worked on by itself."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.io.files import write_atomically
from connectomics.io.place import Place, RemotePath, as_place, read_each, remove

DEALT = "dealt"
"""The version of a part that rows are added to."""

BUFFER_BYTES = 32e6
"""Rows wait in memory until there are this many, since files are many and rows come in small pieces."""


class RowFiles:
    """Files of rows under one folder, by version: ``dealt/n.COLUMN`` grows, ``VERSION/n.npz`` does not.

    Objects in a bucket cannot grow: there each flush makes new ones, ``dealt/n.COLUMN/k``, read in order.

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
            path = self._dealt(part, name)
            if isinstance(path, RemotePath):
                (path / f"{self._flushes:06d}").write_bytes(data)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(data)
        self._waiting, self._bytes, self._flushes = {}, 0, self._flushes + 1

    def write(self, part: int, version: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write a part of another version, whole or not at all."""
        stream = io.BytesIO()
        kept = {name: np.ascontiguousarray(columns[name], dtype) for name, dtype in self.columns.items()}
        np.savez(stream, allow_pickle=False, **kept)
        write_atomically(self._written(part, version), stream.getvalue(), durable=False)

    def read(self, part: int, version: str = DEALT) -> dict[str, NDArray[Any]]:
        """The rows of a part, column by column; of those dealt, none where nothing was added.

        Raises
        ------
        FileNotFoundError
            The part was never written in that version.
        """
        if version == DEALT:
            return {name: self._column(part, name) for name in self.columns}
        data = io.BytesIO(self._written(part, version).read_bytes())
        with np.load(data, allow_pickle=False) as archive:
            return {name: archive[name] for name in self.columns}

    def drop(self, version: str) -> None:
        """Delete all parts of a version."""
        remove(self.folder / version)

    def _column(self, part: int, name: str) -> NDArray[Any]:
        path, dtype = self._dealt(part, name), self.columns[name]
        if isinstance(path, RemotePath):
            pieces = read_each(sorted(path.glob("*"), key=str), lambda piece: piece.read_bytes())
            return np.frombuffer(b"".join(pieces), dtype).copy()
        try:
            return np.fromfile(path, dtype)
        except FileNotFoundError:
            return np.zeros(0, dtype)

    def _dealt(self, part: int, name: str) -> Place:
        return self.folder / DEALT / f"{part:06d}.{name}"

    def _written(self, part: int, version: str) -> Place:
        return self.folder / version / f"{part:06d}.npz"
