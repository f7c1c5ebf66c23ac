"""Rows of a benchmark in a JSON file, one a line; several processes may add to it at once."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_rows(table: Path) -> list[dict]:
    """The rows that are there."""
    return json.loads(table.read_text()) if table.exists() else []


def has_row(table: Path, **key: Any) -> bool:
    """Whether a row with these values is there."""
    return any(all(row.get(name) == value for name, value in key.items()) for row in read_rows(table))


def add_row(table: Path, row: dict, order: Callable[[dict], Any] | None = None) -> None:
    """Add a row, sorted in if `order` is given."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [*read_rows(table), row]
        if order is not None:
            rows.sort(key=order)
        partial = table.with_suffix(".partial")
        partial.write_text("[\n" + ",\n".join(json.dumps(one) for one in rows) + "\n]\n")
        partial.replace(table)
