"""Small files that are either wholly there or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from connectomics.io.place import Place, RemotePath

REPORT_OF = "report_of"
"""The key of a report that says of which command it is: JSON without it is never written over by one."""


def write_atomically(path: Place, data: bytes, *, durable: bool = True) -> None:
    """Write `data` so that a reader sees the old file or the new one, never a part.

    Without `durable` a loss of power may lose or damage it; nothing less does.
    """
    if isinstance(path, RemotePath):  # a bucket shows no object before it is whole
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Place, value: Any, *, durable: bool = True) -> None:
    """Write `value` as JSON, atomically; see `write_atomically`."""
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True).encode(), durable=durable)


def read_json(path: Place) -> Any:
    """Read a JSON file; None where it is missing or was damaged by a crash."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
