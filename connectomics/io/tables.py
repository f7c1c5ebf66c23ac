"""Small tables beside the volumes of an output group, such as the edges of a region graph."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ConnectomicsError, FormatError
from connectomics.io.place import Place, as_place


def write_table(group: str | Place, name: str, values: NDArray[Any]) -> None:
    """Write an array of any shape as the zarr array ``group/name``, replacing an earlier one."""
    import zarr

    from connectomics.io.zarr_store import zarr_at

    array = zarr.create_array(
        store=zarr_at(as_place(group) / name),
        shape=values.shape,
        dtype=values.dtype,
        chunks=tuple(max(1, min(n, 1 << 20)) for n in values.shape),
        overwrite=True,
    )
    if values.size:
        array[...] = values


def read_table(group: str | Place, name: str) -> NDArray[Any]:
    """Read what `write_table` wrote.

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
        return np.asarray(array[...])
    except ConnectomicsError:
        raise
    except Exception as error:
        raise FormatError(f"{place}: cannot read the table ({error}).") from error
