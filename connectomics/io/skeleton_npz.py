"""Skeletons in an npz: `ids`, `vertices_nm` (z, y, x), `edges`, `vertex_offset`, `edge_offset`, `radius_nm`.

Skeleton i holds vertices ``vertex_offset[i]:vertex_offset[i + 1]``; `edges` count vertices of the whole file.
`radius_nm` may be missing.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import FormatError, InputError
from connectomics.io.skeletons import Skeletons

_NEEDED = ("ids", "vertices_nm", "edges", "vertex_offset")


def read_npz(path: Path) -> Skeletons:
    """Read the file; nothing in it is ever unpickled.

    Raises
    ------
    FormatError
        It is damaged, lacks a key, holds Python objects, or its arrays do not fit together.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            there = sorted(file.files)
            missing = [key for key in _NEEDED if key not in there]
            if missing:
                raise FormatError(f"{path}: expected arrays {', '.join(_NEEDED)}; got {', '.join(there)}.")
            arrays: dict[str, NDArray[Any]] = {
                key: file[key] for key in (*_NEEDED, "radius_nm") if key in there
            }
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: the npz is damaged or holds Python objects ({error}).") from None
    vertices = arrays["vertices_nm"]
    try:
        ids, edges, starts = (_whole(arrays[key], key) for key in ("ids", "edges", "vertex_offset"))
        if not len(starts) or starts[0] != 0 or starts[-1] != len(vertices):
            raise ValueError(
                f"vertex_offset: expected 0 to {len(vertices)}, got {starts[:1]} to {starts[-1:]}"
            )
        return Skeletons(
            nodes=vertices.astype(np.float64),
            edges=edges,
            ids=np.repeat(ids, starts[1:] - starts[:-1]),
            radii=arrays.get("radius_nm", np.full(len(vertices), np.nan)).astype(np.float64),
        )
    except (ValueError, TypeError, IndexError, InputError) as error:
        raise FormatError(f"{path}: its arrays do not fit together ({error}).") from None


def _whole(array: NDArray[Any], name: str) -> NDArray[np.int64]:
    if array.dtype.kind not in "ui":
        raise ValueError(f"{name}: expected whole numbers, got {array.dtype}")
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: {array.max()} is above 2^63 - 1")
    return array.astype(np.int64)
