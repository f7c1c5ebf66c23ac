"""The edited segmentation as an array that is read lazily: what a viewer draws and export writes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.io.volume import Box, Volume
from connectomics.proofreading.mapping import SegmentMap
from connectomics.roi import IntTriple


class LiveSegments:
    """Current segment ids of one level; reads ``labels/fragments`` and looks ids up, nothing is cached.

    Parameters
    ----------
    fragments
        A level of ``labels/fragments``.
    mapping
        The mapping in its current state, whatever that is when something is read.
    factor
        Voxels of the finest level in one of this level, zyx.

    Attributes
    ----------
    shape, ndim, size, dtype
        As of a numpy array; uint64.
    chunks : tuple of int or None
        As stored.
    """

    def __init__(self, fragments: Volume, mapping: SegmentMap, factor: IntTriple = (1, 1, 1)) -> None:
        self._fragments = fragments
        self._mapping = mapping
        self._factor = factor
        self.shape: tuple[int, ...] = fragments.shape
        self.ndim = 3
        self.size = int(np.prod(self.shape))
        self.dtype: Any = np.dtype(np.uint64)
        self.chunks = fragments.chunks

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.uint64]:
        """Read by integers, slices (with steps), Ellipsis; as numpy would."""
        keys = _spelt_out(key)
        spans = [_span(one, n) for one, n in zip(keys, self.shape, strict=True)]
        z, y, x = (slice(min(span), max(span) + 1) if len(span) else slice(0, 0) for span in spans)
        if min(map(len, spans)) == 0:
            block = np.zeros([s.stop - s.start for s in (z, y, x)], np.uint64)
        else:
            block = self.read_box((z, y, x))
        inner = tuple(
            one if not isinstance(one, slice) else _within(span)
            for one, span in zip(keys, spans, strict=True)
        )
        return np.asarray(block[tuple(0 if not isinstance(one, slice) else one for one in inner)])

    def read_box(self, box: Box) -> NDArray[np.uint64]:
        """Segments of the voxels of three slices (z, y, x) of this level."""
        stored = self._fragments.read_box(box)
        return self._mapping.overlay(stored, [s.start or 0 for s in box], self._factor)

    @property
    def volume(self) -> Volume:
        """The same with its place in the world, for `connectomics.evaluation`."""
        source = self._fragments
        return Volume(self, source.voxel_size, source.offset, source.name, source.chunks, source.shards)


def live_levels(levels: list[Volume], mapping: SegmentMap) -> list[LiveSegments]:
    """Every level of ``labels/fragments`` as current segments, the finest first."""
    finest = levels[0].voxel_size
    found = []
    for level in levels:
        z, y, x = (round(a / b) for a, b in zip(level.voxel_size, finest, strict=True))
        found.append(LiveSegments(level, mapping, (z, y, x)))
    return found


def _spelt_out(key: Any) -> list[Any]:
    """One key an axis."""
    keys = list(key) if isinstance(key, tuple) else [key]
    places = [n for n, one in enumerate(keys) if one is Ellipsis]
    if len(places) > 1 or len(keys) - len(places) > 3:
        raise IndexError(f"too many indices for a (z, y, x) array: {key!r}")
    if not places:
        places = [len(keys)]
        keys.append(Ellipsis)
    missing = 3 - (len(keys) - 1)
    keys[places[0] : places[0] + 1] = [slice(None)] * missing
    return keys


def _span(one: Any, size: int) -> range:
    if isinstance(one, slice):
        return range(size)[one]
    index = int(one.__index__())
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of bounds for an axis of {size} voxels")
    return range(index % size, index % size + 1)


def _within(span: range) -> slice:
    """The slice that picks a range out of the box that just holds it."""
    return slice(None, None, span.step)
