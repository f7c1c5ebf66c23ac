"""Ids to places in tables."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def positions(
    names: NDArray[np.int64], pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where both of each pair of ids stand in ascending `names`, and which pairs are there at all."""
    if not len(names):
        return np.zeros((0, 2), np.int64), np.zeros(len(pairs), bool)
    place = np.minimum(np.searchsorted(names, pairs), len(names) - 1)
    there = (names[place] == pairs).all(axis=1)
    return place[there], there


def signed(fragments: NDArray[Any]) -> NDArray[np.int64]:
    """Fragments as indices; uint64 as it is stored is not copied."""
    array = np.ascontiguousarray(fragments)
    return array.view(np.int64) if array.dtype == np.uint64 else array.astype(np.int64)
