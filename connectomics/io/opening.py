"""Open any volume: find it, read what its file says, arrange its axes and place it in the world."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from connectomics.errors import GeometryError, InputError
from connectomics.io.locate import Format, Location, locate
from connectomics.io.place import Place
from connectomics.io.source import Arranged, Source
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple, triple


class Reader(Protocol):
    """Opens a located volume of one format: level, and the voxel size (nm) for files that state none."""

    def __call__(self, location: Location, level: int, voxel_size: Sequence[float] | None, /) -> Source:
        """Open it; nothing but metadata is read."""


def open_volume(
    location: str | Place,
    voxel_size: Sequence[float] | None = None,
    *,
    level: int = 0,
    channels: bool = False,
) -> Volume:
    """Open an OME-Zarr, HDF5, TIFF, N5 or precomputed volume; nothing but metadata is read.

    Parameters
    ----------
    location
        Path (or URL of a zarr), the data set inside following its name: ``cremi.h5/volumes/raw``,
        ``out.zarr/labels/segmentation``.
    voxel_size
        nm, zyx, used where the file states none.
    level
        Resolution, 0 the finest.
    channels
        Accept (c, z, y, x) as well as (z, y, x). One channel alone counts as (z, y, x) otherwise.

    Raises
    ------
    InputError
        No such path, data set or level; data that are no numbers.
    FormatError
        A file that is truncated, corrupt, or no volume.
    GeometryError
        No voxel size is known, or the data are not three-dimensional.
    """
    return place(open_source(location, voxel_size, level=level), voxel_size, channels=channels)


def open_source(
    location: str | Place, voxel_size: Sequence[float] | None = None, *, level: int = 0
) -> Source:
    """Open a volume as its file holds it, before axes and voxel size are settled."""
    if voxel_size is not None:
        voxel_size = triple(voxel_size, "--voxel-size")
        if min(voxel_size) <= 0:
            raise GeometryError(f"--voxel-size: must be positive, got {voxel_size} nm.")
    found = locate(location)
    source = _reader(found.format)(found, level, voxel_size)
    _check_stated(source)
    return source


def _check_stated(source: Source) -> None:
    """Refuse a place in space that no volume can have, whatever the format that states it."""
    size, offset = source.voxel_size, source.offset
    if size is not None and (len(size) != 3 or not all(math.isfinite(v) and v > 0 for v in size)):
        raise GeometryError(
            f"{source.name}: the voxel size (resolution) in it must be three positive numbers (nm, z y x), "
            f"got {list(size)}. Correct its metadata."
        )
    if offset is not None and (len(offset) != 3 or not all(map(math.isfinite, offset))):
        raise GeometryError(
            f"{source.name}: the offset in it must be three finite numbers (nm, z y x), got {list(offset)}. "
            "Correct its metadata."
        )


def place(source: Source, voxel_size: Sequence[float] | None, *, channels: bool) -> Volume:
    """Arrange a source as (z, y, x) or (c, z, y, x) and give it its place; see `open_volume`."""
    wanted = _wanted_axes(source, channels)
    dtype = np.dtype(source.array.dtype)
    if dtype.kind not in "buif":
        raise InputError(f"{source.name}: expected whole or real numbers, got type {dtype}.")
    size = source.voxel_size or voxel_size
    if size is None:
        raise GeometryError(
            f"{source.name}: states no voxel size with a unit of length. "
            "Give it in nm with --voxel-size Z Y X."
        )
    arranged = source.array if source.axes == wanted else Arranged(source.array, source.axes, wanted)
    return Volume(
        array=arranged,
        voxel_size=triple(size, "voxel size"),
        offset=triple(source.offset or (0.0, 0.0, 0.0), "offset"),
        name=source.name,
        chunks=_spatial(source, source.chunks),
        shards=_spatial(source, source.shards),
        attributes=source.attributes,
        labels=source.labels,
    )


def _wanted_axes(source: Source, channels: bool) -> str:
    sizes, shape = source.sizes, tuple(source.array.shape)
    what = f"{source.name}: expected 3-D data (z, y, x)"
    if len(sizes) < len(source.axes) or not set(sizes) <= set("tczyx"):
        raise GeometryError(f"{what}, got shape {shape} with axes '{source.axes}'.")
    if not set("zyx") <= set(sizes):
        raise GeometryError(
            f"{what}, got 2-D data: shape {shape}, axes '{source.axes}'. Stack the slices first."
        )
    if min(shape) < 1:
        raise GeometryError(f"{what}, got an empty array of shape {shape}.")
    if sizes.get("t", 1) != 1:
        raise GeometryError(f"{what}, got {sizes['t']} time points: shape {shape}, axes '{source.axes}'.")
    if sizes.get("c", 1) != 1 and not channels:
        raise GeometryError(f"{what}, got {len(shape)}-D data: shape {shape}, {sizes['c']} channels.")
    return "czyx" if channels and "c" in sizes else "zyx"


def _spatial(source: Source, stored: Sequence[int] | None) -> IntTriple | None:
    if stored is None:
        return None
    by_axis = dict(zip(source.axes, stored, strict=True))
    return int(by_axis["z"]), int(by_axis["y"]), int(by_axis["x"])


def _reader(kind: Format) -> Reader:
    if kind == "zarr":
        from connectomics.io.zarr_source import read_zarr

        return read_zarr
    if kind == "hdf5":
        from connectomics.io.hdf5 import read_hdf5

        return read_hdf5
    if kind == "tiff":
        from connectomics.io.tiff import read_tiff

        return read_tiff
    from connectomics.io.tensorstore_formats import read_n5, read_precomputed

    return read_n5 if kind == "n5" else read_precomputed
