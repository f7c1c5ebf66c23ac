"""Small tables beside the volumes of an output group, such as the edges of a region graph."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import FormatError


def write_table(group: str | Path, name: str, values: NDArray[Any]) -> None:
    """Write an array of any shape as the zarr array ``group/name``, replacing an earlier one."""
    import zarr

    array = zarr.create_array(
        store=str(Path(group) / name),
        shape=values.shape,
        dtype=values.dtype,
        chunks=tuple(max(1, min(n, 1 << 20)) for n in values.shape),
        overwrite=True,
    )
    if values.size:
        array[...] = values


def read_table(group: str | Path, name: str) -> NDArray[Any]:
    """Read what `write_table` wrote.

    Raises
    ------
    FormatError
        The table is missing or damaged.
    """
    import zarr

    try:
        array = zarr.open_array(str(Path(group) / name), mode="r")
        return np.asarray(array[...])
    except Exception as error:
        raise FormatError(f"{Path(group) / name}: cannot read the table ({error}).") from error
