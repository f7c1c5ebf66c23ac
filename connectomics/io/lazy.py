"""A volume indexed like a numpy array, read when it is indexed, for viewers; what was read last is kept."""

import copy
import itertools
import math
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ConnectomicsError
from connectomics.io.volume import Box, Volume, describe_box
from connectomics.roi import IntTriple

KEPT_BYTES = 256_000_000
"""What all arrays together keep of what they read."""

LARGEST_READ = 1_000_000_000
"""Bytes that are read at once, at most: a viewer in three dimensions asks for the whole coarsest level."""

_numbers = itertools.count()

Change = Callable[[NDArray[Any], IntTriple], NDArray[Any]]
"""What becomes of a box that was read, given its first voxel (zyx)."""


class ReadMemory:
    """The boxes read last, up to a number of bytes; safe to use from several threads.

    Parameters
    ----------
    limit
        Bytes to keep at most.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._boxes: OrderedDict[tuple[Hashable, ...], NDArray[Any]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: tuple[Hashable, ...]) -> NDArray[Any] | None:
        """What was kept under a key, or None."""
        with self._guard:
            if key in self._boxes:
                self._boxes.move_to_end(key)
            return self._boxes.get(key)

    def keep(self, key: tuple[Hashable, ...], data: NDArray[Any]) -> None:
        """Keep an array, and let go of those not used for longest."""
        if data.nbytes > self.limit // 2:
            return
        with self._guard:
            if key not in self._boxes:
                self._boxes[key] = data
                self.bytes += data.nbytes
            while self.bytes > self.limit:
                self.bytes -= self._boxes.popitem(last=False)[1].nbytes

    def forget(self, owner: int) -> None:
        """Let go of everything that one array kept."""
        with self._guard:
            for key in [key for key in self._boxes if key[0] == owner]:
                self.bytes -= self._boxes.pop(key).nbytes


MEMORY = ReadMemory()


class LazyArray:
    """A volume as (z, y, x) or, as a picture, (z, y, x, 3), read when a whole number or `numpy.asarray` asks.

    Slices alone give a part, which is as lazy. A place that cannot be read, or more than `LARGEST_READ` at
    once, comes back as zeros with a warning, so that a viewer goes on.

    Parameters
    ----------
    volume
        Where the voxels are.
    channel
        Show this channel alone, of a (c, z, y, x) volume.
    rgb
        Show the first three channels as red, green and blue.
    change
        What becomes of a box of voxels after it is read, such as fragments to segments; called at every
        indexing and not kept, so that what it does may change.
    dtype
        Type after `change`.
    memory
        Where boxes are kept.
    """

    def __init__(
        self,
        volume: Volume,
        *,
        channel: int | None = None,
        rgb: bool = False,
        change: Change | None = None,
        dtype: Any = None,
        memory: ReadMemory = MEMORY,
    ) -> None:
        self.volume = volume
        self.change = change
        self._channel = channel
        self._rgb = rgb
        self._memory = memory
        self._owner = next(_numbers)
        self._told: set[str] = set()
        self._part = tuple(slice(0, n) for n in ((*volume.shape, 3) if rgb else volume.shape))
        self.dtype = np.dtype(dtype) if dtype is not None else volume.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(one.stop - one.start for one in self._part)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._part)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """How it is stored, where it is stored in pieces: whole pieces are read as fast as parts of them."""
        stored = self.volume.chunks
        return None if stored is None else (*stored, 3)[: self.ndim]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it."""
        return np.asarray(self._values([slice(None)] * self.ndim), dtype)

    def __getitem__(self, key: Any) -> Any:
        """A part by slices; values by whole numbers, arrays of them and slices with steps, as numpy does."""
        index = _complete(key, self.ndim)
        if all(isinstance(one, slice) and one.step in (None, 1) for one in index):
            part = copy.copy(self)
            cuts = [one.indices(n)[:2] for one, n in zip(index, self.shape, strict=True)]
            part._part = tuple(
                slice(whole.start + a, whole.start + max(a, b))
                for whole, (a, b) in zip(self._part, cuts, strict=True)
            )
            return part
        return self._values(index)

    def _values(self, index: list[Any]) -> Any:
        bounds = [_bounds(one, length) for one, length in zip(index, self.shape, strict=True)]
        box = [
            slice(part.start + low, part.start + high)
            for part, (low, high, _) in zip(self._part, bounds, strict=True)
        ]
        data = self._read((box[0], box[1], box[2]))
        if self._rgb:
            data = data[..., box[3]]
        if self.change is not None:
            data = self.change(data, (box[0].start, box[1].start, box[2].start)).astype(
                self.dtype, copy=False
            )
        return data[tuple(inside for _, _, inside in bounds)]

    def forget(self) -> None:
        """Read afresh from now on: the volume has changed."""
        self._memory.forget(self._owner)

    def _read(self, box: Box) -> NDArray[Any]:
        shape = tuple(s.stop - s.start for s in box)
        key = (self._owner, *((s.start, s.stop) for s in box))
        kept = self._memory.get(key)
        if kept is not None:
            return kept
        empty = (*shape, 3) if self._rgb else shape
        if 0 in shape:
            return np.zeros(empty, self.volume.dtype)
        wanted = math.prod(shape) * self.volume.dtype.itemsize * (self.volume.channels or 1)
        if wanted > LARGEST_READ:
            self._warn(
                f"{self.volume.name}: {wanted / 1e9:.1f} GB at once are too much to show. Give it coarser "
                "levels with 'connectomics convert'."
            )
            return np.zeros(empty, self.volume.dtype)
        try:
            data = self._arranged(self.volume.read_box(box))
        except ConnectomicsError as error:
            self._warn(f"{error} Voxels {describe_box(box)} are shown as 0.")
            return np.zeros(empty, self.volume.dtype)
        self._memory.keep(key, data)
        return data

    def _arranged(self, data: NDArray[Any]) -> NDArray[Any]:
        if self._rgb:
            return affinity_colours(data)
        if data.ndim == 4:
            return data[self._channel or 0]
        return data

    def _warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            warnings.warn(text, stacklevel=2)


def affinity_colours(affinities: NDArray[Any]) -> NDArray[np.uint8]:
    """The affinities to the next voxel along z, y and x as red, green and blue.

    Parameters
    ----------
    affinities
        (c, z, y, x): uint8, or 0..1 of a float type; the first three channels are shown, fewer leave colours
        empty.

    Returns
    -------
    ndarray of uint8
        (z, y, x, 3).
    """
    chosen = affinities[:3]
    if chosen.dtype.kind == "f":
        chosen = np.rint(255 * np.clip(chosen, 0, 1)).astype(np.uint8)
    picture = np.zeros((*affinities.shape[1:], 3), np.uint8)
    picture[..., : len(chosen)] = np.moveaxis(chosen, 0, -1)
    return picture


def _complete(key: Any, dimensions: int) -> list[Any]:
    """One index for each axis."""
    parts = list(key) if isinstance(key, tuple) else [key]
    place = next((i for i, part in enumerate(parts) if part is Ellipsis), None)
    if place is not None:
        missing = dimensions - (len(parts) - 1)
        parts[place : place + 1] = [slice(None)] * missing
    parts += [slice(None)] * (dimensions - len(parts))
    if len(parts) != dimensions:
        raise IndexError(f"too many indices: {len(parts)} for {dimensions} axes")
    return parts


def _bounds(one: Any, length: int) -> tuple[int, int, Any]:
    """The range of an axis that an index needs, and the index inside that range."""
    if isinstance(one, slice):
        chosen = range(*one.indices(length))
        if not chosen:
            return 0, 0, slice(0, 0)
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1
        return low, high, slice(chosen[0] - low, None, chosen.step)
    if isinstance(one, Sequence | np.ndarray) and np.ndim(one):
        places = np.asarray(one)
        places = (
            np.flatnonzero(places) if places.dtype == bool else np.where(places < 0, places + length, places)
        )
        low = int(places.min(initial=length))
        return (low, int(places.max()) + 1, places - low) if len(places) else (0, 0, slice(0, 0))
    number = int(one) + (length if one < 0 else 0)
    if not 0 <= number < length:
        raise IndexError(f"index {one} is out of bounds for an axis of {length}")
    return number, number + 1, 0
