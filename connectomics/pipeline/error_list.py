"""A list of errors, as `score --errors` writes it, read back: places and what is wrong there."""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import FormatError
from connectomics.io.place import Place
from connectomics.pipeline.score import COLUMNS

_PLACE = ("z_nm", "y_nm", "x_nm")
_IDS = ("skeleton_1", "skeleton_2", "segment_1", "segment_2")


@dataclass(frozen=True, eq=False)
class ErrorList:
    """Places (n, 3), nm, zyx, the costliest first, and columns of n values: kind, cost and ids."""

    places: NDArray[np.float64]
    features: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        """Number of errors."""
        return len(self.places)


def is_error_list(location: str | Place) -> bool:
    """True for a local file that opens with the columns of a list of errors."""
    path = location if isinstance(location, Path) else Path(str(location)).expanduser()
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.readline(4096).strip().startswith(b"kind,cost_nm,")


def read_errors(path: Path) -> ErrorList:
    """Read what `connectomics score --errors` wrote.

    Raises
    ------
    FormatError
        The file is damaged, or lists something else.
    """
    try:
        with path.expanduser().open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        places = np.array([[float(row[axis]) for axis in _PLACE] for row in rows], np.float64)
        features: dict[str, NDArray[Any]] = {
            "kind": np.array([row["kind"] for row in rows], dtype=str),
            "cost_nm": np.array([float(row["cost_nm"]) for row in rows]),
        }
        features |= {name: np.array([int(row[name]) for row in rows], np.int64) for name in _IDS}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise FormatError(
            f"{path}: no list of errors ({type(error).__name__}: {error}); expected the columns "
            f"{', '.join(COLUMNS)}, as 'connectomics score --errors' writes them."
        ) from None
    return ErrorList(places.reshape(-1, 3), features)


def listed_errors(worst: Iterable[Mapping[str, Any]]) -> ErrorList:
    """The errors under ``worst`` of a comparison, those that have a place; cost in nm, or in ``bits``."""
    found = [one for one in worst if "position_nm" in one]
    features: dict[str, NDArray[Any]] = {
        "kind": np.array([one["kind"] for one in found], dtype=str),
        "cost_nm": np.array([float(one["cost_nm"]) for one in found]),
        "bits": np.array([float(one.get("bits", math.nan)) for one in found]),
    }
    for name, key in (("segment", "labels"), ("skeleton", "skeletons")):
        pairs = np.array([_two(one[key]) for one in found], np.int64).reshape(-1, 2)
        features |= {f"{name}_{side + 1}": pairs[:, side] for side in (0, 1)}
    places = np.array([one["position_nm"] for one in found], np.float64)
    return ErrorList(places.reshape(-1, 3), features)


def _two(ids: Iterable[int]) -> tuple[int, int]:
    listed = [int(one) for one in ids]
    return (listed[0], listed[-1]) if listed else (0, 0)
