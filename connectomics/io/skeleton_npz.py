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
        starts: NDArray[np.int64] = arrays["vertex_offset"].astype(np.int64)
        return Skeletons(
            nodes=vertices.astype(np.float64),
            edges=arrays["edges"].astype(np.int64),
            ids=np.repeat(arrays["ids"].astype(np.int64), starts[1:] - starts[:-1]),
            radii=arrays.get("radius_nm", np.full(len(vertices), np.nan)).astype(np.float64),
        )
    except (ValueError, TypeError, IndexError, InputError) as error:
        raise FormatError(f"{path}: its arrays do not fit together ({error}).") from None
