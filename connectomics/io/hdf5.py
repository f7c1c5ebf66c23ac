"""HDF5 data sets read lazily; attributes `resolution` and `offset` (nm, zyx) place them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from connectomics.errors import FormatError, GeometryError, InputError
from connectomics.io.locate import Location, missing_data_set
from connectomics.io.source import Source, default_axes

_BROKEN = (OSError, RuntimeError, KeyError, ValueError)


class HDF5Array:
    """A data set read by slices; pickled by path, so that workers open the file themselves."""

    def __init__(self, path: str, data_set: str) -> None:
        import h5py

        self._place = (path, data_set)
        self.data_set = h5py.File(path, "r", locking="best-effort")[data_set]
        self.shape: tuple[int, ...] = tuple(self.data_set.shape)
        self.dtype: np.dtype[Any] = self.data_set.dtype

    def __getitem__(self, key: Any) -> Any:
        """Read by a tuple of slices."""
        return self.data_set[key]

    def __reduce__(self) -> tuple[type["HDF5Array"], tuple[str, str]]:
        """Reopen from the same place."""
        return HDF5Array, self._place


def read_hdf5(location: Location, level: int, voxel_size: Sequence[float] | None) -> Source:
    """Open a data set; one that is alone in its file need not be named.

    Raises
    ------
    FormatError
        The file is truncated or corrupt.
    InputError
        No such data set, or no such level (HDF5 has one).
    """
    if level != 0:
        raise InputError(f"{location.name}: no level {level}; an HDF5 data set has one level.")
    inner = location.inner
    if not _is_data_set(location.container, inner):
        there = list_hdf5(location.container)
        if inner or len(there) != 1:
            shapes = [f"{name} {shape}" for name, shape in there.items()]
            raise missing_data_set(location.container, inner, shapes)
        (inner,) = there
    name = f"{location.container}/{inner}"
    try:
        array = HDF5Array(location.container, inner)
        stated = dict(array.data_set.attrs.items())
    except _BROKEN as error:
        raise _broken(name, error) from error
    return Source(
        array=array,
        axes=default_axes(len(array.shape)),
        name=name,
        format="HDF5",
        voxel_size=_stated_triple(stated, "resolution", name),
        offset=_stated_triple(stated, "offset", name),
        chunks=array.data_set.chunks,
        attributes={
            key: _plain(value) for key, value in stated.items() if key not in ("resolution", "offset")
        },
    )


def _is_data_set(path: str, inner: str) -> bool:
    """True where a data set of this file goes by that name; it may have others, of which a list has one."""
    import h5py

    if not inner:
        return False
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            item = file.get(inner)
            within = item is not None and item.file.filename == file.filename  # no link to another file
            return within and isinstance(item, h5py.Dataset) and item.shape is not None and item.ndim >= 2
    except _BROKEN as error:
        raise _broken(path, error) from error


def list_hdf5(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the data sets in a file that are at least 2-D, as they lie in it."""
    import h5py

    found: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 2:
            found[name] = tuple(int(n) for n in item.shape)

    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            file.visititems(note)
    except _BROKEN as error:
        raise _broken(str(path), error) from error
    return found


def _broken(name: str, error: Exception) -> FormatError:
    detail = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
    return FormatError(
        f"{name}: the HDF5 file is truncated or corrupt ({detail}). Copy or download the file again."
    )


def _stated_triple(attributes: dict[str, Any], key: str, name: str) -> list[float] | None:
    if key not in attributes:
        return None
    try:
        values = [float(v) for v in np.asarray(attributes[key], float).ravel()]
    except (TypeError, ValueError):
        values = []
    if len(values) < 3:
        raise GeometryError(
            f"{name}: attribute '{key}' should be three numbers (nm, z y x), got {attributes[key]!r}."
        )
    return values[-3:]


def _plain(value: Any) -> Any:
    """An attribute as JSON can hold it; what it cannot, such as references, in words."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
