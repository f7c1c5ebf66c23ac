"""What an edit changed, value by value, so that taking it back leaves no trace."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Table:
    """A lookup table that can grow; `array` is what is in use of it.

    Parameters
    ----------
    values
        What it holds at first; copied.
    """

    def __init__(self, values: NDArray[np.int64]) -> None:
        self._room = np.empty(len(values) + 1024, np.int64)
        self._room[: len(values)] = values
        self.array = self._room[: len(values)]

    def __len__(self) -> int:
        return len(self.array)

    def extend(self, values: NDArray[np.int64]) -> None:
        """Add entries; readers in other threads see the table before or after."""
        used = len(self.array)
        if used + len(values) > len(self._room):
            room = np.empty(used + len(values) + max(1024, used // 8), np.int64)
            room[:used] = self.array
            self._room = room
        self._room[used : used + len(values)] = values
        self.array = self._room[: used + len(values)]

    def shorten(self, length: int) -> None:
        """Forget the entries from `length` on."""
        self.array = self._room[:length]


class Journal:
    """Changes tables, dicts, sets and lists, and takes the changes of the last edit back."""

    def __init__(self) -> None:
        self._edits: list[tuple[list[Callable[[], Any]], list[frozenset[int]]]] = []

    def begin(self) -> None:
        """An edit begins."""
        self._edits.append(([], []))

    def end(self, changed: frozenset[int]) -> None:
        """The edit is complete; `roll_back` will say what it changed."""
        self._edits[-1][1].append(changed)

    def roll_back(self) -> frozenset[int]:
        """Take the last edit back, complete or not; what `end` was told."""
        steps, changed = self._edits.pop()
        for step in reversed(steps):
            step()
        return changed[0] if changed else frozenset()

    def _note(self, step: Callable[[], Any]) -> None:
        self._edits[-1][0].append(step)

    def fill(self, table: Table, where: NDArray[np.int64], values: Any) -> None:
        """``table[where] = values``."""
        old = table.array[where].copy()

        def back() -> None:
            table.array[where] = old

        self._note(back)
        table.array[where] = values

    def grow(self, table: Table, values: NDArray[np.int64]) -> None:
        """Add entries to a table."""
        length = len(table)
        self._note(lambda: table.shorten(length))
        table.extend(values)

    def put(self, mapping: dict[int, Any], key: int, value: Any) -> None:
        """``mapping[key] = value``."""
        if key in mapping:
            old = mapping[key]
            self._note(lambda: mapping.__setitem__(key, old))
        else:
            self._note(lambda: mapping.pop(key))
        mapping[key] = value

    def append(self, values: list[Any], value: Any) -> None:
        """Add to a list."""
        self._note(values.pop)
        values.append(value)

    def add(self, values: set[int], value: int) -> None:
        """Add to a set that does not have it."""
        self._note(lambda: values.discard(value))
        values.add(value)

    def discard(self, values: set[int], value: int) -> None:
        """Take out of a set that has it."""
        self._note(lambda: values.add(value))
        values.discard(value)
