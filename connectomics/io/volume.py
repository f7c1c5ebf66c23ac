"""A volume: an array that knows where in space it lies, read lazily by box."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ConnectomicsError, FormatError, GeometryError, InputError
from connectomics.io.staging import unwritable
from connectomics.roi import IntTriple, Roi, Triple, triple

Box = tuple[slice, slice, slice]
"""Voxel slices, zyx, each with a start and a stop inside the volume and no step."""


class ArrayLike(Protocol):
    """What a Volume needs of its array: a shape, a dtype, and reading by a tuple of slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis; the last three are z, y, x."""

    @property
    def dtype(self) -> Any:
        """Anything that ``numpy.dtype`` takes."""

    def __getitem__(self, key: Any, /) -> Any:
        """Read the voxels of a tuple of slices, one an axis."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A (z, y, x) or (c, z, y, x) array placed in the world; nothing is read until asked for.

    Attributes
    ----------
    array : ArrayLike
        zarr array, HDF5 data set, memory map or numpy array; the last three axes are z, y, x.
    voxel_size : tuple of float
        nm, zyx.
    offset : tuple of float
        World position, nm, zyx, of the low corner of voxel 0.
    name : str
        Where the array came from, for messages.
    chunks, shards : tuple of int, optional
        How the spatial axes are stored, where they are stored in pieces.
    attributes : mapping
        What else the file says of the array, such as the offsets of its affinity channels.
    labels : bool
        True where the file says that it holds labels.
    """

    array: ArrayLike
    voxel_size: Triple
    offset: Triple
    name: str
    chunks: IntTriple | None = None
    shards: IntTriple | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    labels: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "voxel_size", triple(self.voxel_size, f"{self.name}: voxel size"))
        object.__setattr__(self, "offset", triple(self.offset, f"{self.name}: offset"))
        if min(self.voxel_size) <= 0:
            raise GeometryError(f"{self.name}: voxel size must be positive, got {self.voxel_size} nm.")
        if len(self.array.shape) not in (3, 4):
            raise GeometryError(
                f"{self.name}: expected a (z, y, x) or (c, z, y, x) array, "
                f"got shape {tuple(self.array.shape)}."
            )

    @property
    def shape(self) -> IntTriple:
        """Voxels along z, y, x."""
        z, y, x = (int(n) for n in self.array.shape[-3:])
        return z, y, x

    @property
    def channels(self) -> int | None:
        """Number of channels, None where the array has no channel axis."""
        return int(self.array.shape[0]) if len(self.array.shape) == 4 else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what is read, in the byte order of this machine."""
        return np.dtype(self.array.dtype).newbyteorder("=")

    @property
    def roi(self) -> Roi:
        """The box that the volume fills, nm."""
        return Roi(self.offset, triple([n * v for n, v in zip(self.shape, self.voxel_size, strict=True)]))

    def slices(self, roi: Roi) -> Box:
        """Voxel slices of `roi`, which must lie on the voxel grid and inside the volume.

        Raises
        ------
        GeometryError
            `roi` lies off the grid or reaches outside.
        """
        return self._inside(roi.slices(self.voxel_size, self.offset))

    def read(self, roi: Roi | None = None) -> NDArray[Any]:
        """Read the voxels of `roi` (nm), or everything.

        Returns
        -------
        ndarray
            (z, y, x) or (c, z, y, x), C order, the machine's own byte order.

        Raises
        ------
        GeometryError
            `roi` lies off the voxel grid or reaches outside the volume.
        FormatError
            The file is corrupt there.
        """
        return self.read_box(self.slices(self.roi if roi is None else roi))

    def read_box(self, box: Box) -> NDArray[Any]:
        """Read the voxels of three slices (z, y, x); see `read`."""
        box = self._inside(box)
        try:
            data = np.asarray(self.array[self._key(box)])
        except (ConnectomicsError, MemoryError):
            raise
        except Exception as error:
            raise FormatError(
                f"{self.name}: cannot read voxels {describe_box(box)}, the file is corrupt or truncated "
                f"there ({type(error).__name__}: {_one_line(error)}). Copy or make the file again."
            ) from error
        return np.ascontiguousarray(data, dtype=self.dtype)

    def write_box(self, box: Box, array: NDArray[Any]) -> None:
        """Write `array` to the voxels of three slices (z, y, x).

        Raises
        ------
        GeometryError
            The box reaches outside, or the array is of another shape.
        InputError
            The volume is read-only, or the disk is full.
        """
        box = self._inside(box)
        expected = self.array.shape[:-3] + tuple(s.stop - s.start for s in box)
        if array.shape != expected:
            raise GeometryError(f"{self.name}: expected an array of shape {expected}, got {array.shape}.")
        store = getattr(self.array, "__setitem__", None)
        if store is None:
            raise InputError(f"{self.name}: opened for reading only.")
        try:
            store(self._key(box), array)
        except OSError as error:
            raise unwritable(error, f"{self.name}, voxels {describe_box(box)}") or error from None

    def crop(self, roi: Roi) -> "Volume":
        """The part of the volume inside `roi` (nm, on the grid), as a volume of its own; nothing is read."""
        box = self.slices(roi)
        start = [s.start for s in box]
        aligned = self.chunks is not None and all(a % c == 0 for a, c in zip(start, self.chunks, strict=True))
        offset = [o + v * a for o, v, a in zip(self.offset, self.voxel_size, start, strict=True)]
        return replace(
            self,
            array=Window(self.array, box),
            offset=triple(offset),
            chunks=self.chunks if aligned else None,
            shards=None,
        )

    def _inside(self, box: Box) -> Box:
        for one, size in zip(box, self.shape, strict=True):
            if one.step not in (None, 1) or not 0 <= (one.start or 0) <= _stop(one, size) <= size:
                raise GeometryError(
                    f"{self.name}: voxels {describe_box(box)} reach outside the volume, shape {self.shape}."
                )
        z, y, x = (slice(int(s.start or 0), _stop(s, n)) for s, n in zip(box, self.shape, strict=True))
        return z, y, x

    def _key(self, box: Box) -> tuple[slice, ...]:
        return box if self.channels is None else (slice(0, self.channels), *box)


class Window:
    """A view of a box of another array; reads and writes go through to it."""

    def __init__(self, array: ArrayLike, box: Box) -> None:
        self._array = array
        self._box = box
        self.shape: tuple[int, ...] = (*array.shape[:-3], *(s.stop - s.start for s in box))
        self.dtype = array.dtype

    def __getitem__(self, key: Any) -> Any:
        """Read by a tuple of slices."""
        return self._array[self._shift(key)]

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write by a tuple of slices, where the array below takes writes."""
        store = getattr(self._array, "__setitem__", None)
        if store is None:
            raise InputError("opened for reading only.")
        store(self._shift(key), value)

    def _shift(self, key: Any) -> tuple[slice, ...]:
        *leading, z, y, x = key
        moved = [
            slice(b.start + s.start, b.start + s.stop) for s, b in zip((z, y, x), self._box, strict=True)
        ]
        return (*leading, *moved)


def describe_box(box: Box) -> str:
    """Write a box as ``[0:64, 0:64, 128:192] (z, y, x)``."""
    return "[" + ", ".join(f"{s.start or 0}:{'' if s.stop is None else s.stop}" for s in box) + "] (z, y, x)"


def _stop(one: slice, size: int) -> int:
    return size if one.stop is None else int(one.stop)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no further detail"
