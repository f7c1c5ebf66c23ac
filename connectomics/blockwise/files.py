"""Small files that are either wholly there or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from connectomics.io.place import Place, RemotePath


def write_atomically(path: Place, data: bytes) -> None:
    """Write `data` so that a reader sees the old file or the new one, never a part."""
    if isinstance(path, RemotePath):  # a bucket shows no object before it is whole
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Place, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True).encode())


def read_json(path: Place) -> Any:
    """Read a JSON file; None where it is missing or was damaged by a crash."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
