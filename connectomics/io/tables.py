"""Small tables beside the volumes of an output group, such as the edges of a region graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ConnectomicsError, FormatError
from connectomics.io.place import Place, as_place

LONGEST_CHUNK = 1 << 20


def create_table(
    group: str | Place, name: str, shape: tuple[int, ...], dtype: Any, longest: int = LONGEST_CHUNK
) -> Any:
    """Make the empty zarr array ``group/name``, replacing an earlier one; rows are written by slicing it.

    `longest` is the length of a chunk that is read or written at once.
    """
    import zarr

    from connectomics.io.zarr_store import zarr_at

    return zarr.create_array(
        store=zarr_at(as_place(group) / name),
        shape=shape,
        dtype=dtype,
        chunks=tuple(max(1, min(n, longest)) for n in shape),
        overwrite=True,
    )


def write_table(group: str | Place, name: str, values: NDArray[Any], longest: int = LONGEST_CHUNK) -> None:
    """Write an array of any shape as the zarr array ``group/name``, replacing an earlier one."""
    array = create_table(group, name, values.shape, values.dtype, longest)
    if values.size:
        array[...] = values


def open_table(group: str | Place, name: str) -> Any:
    """The zarr array ``group/name`` that `write_table` wrote, for reading by slices.

    Raises
    ------
    FormatError
        The table is missing or damaged.
    """
    import zarr

    from connectomics.io.zarr_store import zarr_at

    place = as_place(group) / name
    try:
        return zarr.open_array(zarr_at(place), mode="r")
    except ConnectomicsError:
        raise
    except Exception as error:
        raise FormatError(f"{place}: cannot open the table ({error}).") from error


def read_table(group: str | Place, name: str, rows: Sequence[tuple[int, int]] | None = None) -> NDArray[Any]:
    """Read what `write_table` wrote: all of it, or the rows of some ranges (first, last + 1) in turn.

    Raises
    ------
    FormatError
        The table is missing or damaged.
    """
    import zarr

    from connectomics.io.zarr_store import zarr_at

    place = as_place(group) / name
    try:
        array = zarr.open_array(zarr_at(place), mode="r")
        if rows is None:
            return np.asarray(array[...])
        parts = [np.asarray(array[first:last]) for first, last in rows]
        return np.concatenate([np.zeros((0, *array.shape[1:]), array.dtype), *parts])
    except ConnectomicsError:
        raise
    except Exception as error:
        raise FormatError(f"{place}: cannot read the table ({error}).") from error
