"""What a volume is, in a few facts, for `info`."""

from collections.abc import Sequence
from typing import Any

from connectomics.io.opening import open_source
from connectomics.io.place import Place
from connectomics.io.source import Source

Facts = dict[str, Any]
"""JSON-ready facts; sizes in voxels, lengths in nm, in the order of the axes that they are of."""


def describe(location: str | Place, voxel_size: Sequence[float] | None = None) -> Facts:
    """Facts of a volume, read from its metadata alone.

    Returns
    -------
    dict
        ``format``, ``axes`` (in the file's own order), ``shape``, ``dtype``, ``chunks``, ``shards``,
        ``voxel_size`` and ``offset`` (nm, zyx; null where not known), ``levels`` (shape and voxel size of
        each) and ``placement``: how the file says where it lies.

    Raises
    ------
    InputError, FormatError
        As `open_volume`; a volume without a voxel size, or with other axes than z, y, x, is described too.
    """
    source = open_source(location, voxel_size)
    size = source.voxel_size or voxel_size
    levels = [source, *(open_source(location, voxel_size, level=i) for i in range(1, source.levels))]
    return {
        "location": source.name,
        "format": source.format,
        "axes": source.axes,
        "shape": [int(n) for n in source.array.shape],
        "dtype": str(source.array.dtype),
        "chunks": _plain(source.chunks),
        "shards": _plain(source.shards),
        "voxel_size": None if size is None else [float(v) for v in size],
        "offset": None if size is None else [float(v) for v in source.offset or (0.0, 0.0, 0.0)],
        "placement": _placement(source),
        "levels": [
            {"shape": [int(n) for n in level.array.shape], "voxel_size": _plain(level.voxel_size or size)}
            for level in levels
        ],
        "attributes": dict(source.attributes),
    }


def _placement(source: Source) -> str:
    if source.format.startswith("OME-Zarr") and source.offset is not None:
        return "the file places voxel centres; offset is the low corner of voxel 0, half a voxel lower"
    if source.offset is not None:
        return "the file states the low corner of voxel 0"
    return "the file states no offset; 0 is taken"


def _plain(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else list(values)
