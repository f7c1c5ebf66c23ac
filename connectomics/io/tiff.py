"""TIFF stacks read lazily: memory-mapped where they lie in one piece, page by page where not."""

import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from connectomics.errors import ConnectomicsError, FormatError, InputError
from connectomics.io.locate import Location
from connectomics.io.source import Source
from connectomics.io.units import is_length, nanometres


class TiffArray:
    """The first series of a TIFF read by slices; pickled by path."""

    def __init__(self, path: str) -> None:
        import tifffile

        self._path = path
        self._lock = threading.Lock()
        with _complaints() as complaints, tifffile.TiffFile(path) as file:
            series = file.series[0]
            if complaints:
                raise ValueError(complaints[0])
            self.axes = _axes(series.axes)
            self.voxel_size = _ome_voxel_size(file) or _imagej_voxel_size(file)
            self.shape: tuple[int, ...] = tuple(series.shape)
            self.dtype: np.dtype[Any] = series.dtype
            in_one_piece = series.dataoffset is not None
        if in_one_piece:
            self._data: Any = tifffile.memmap(path, mode="r")
            return
        store = tifffile.imread(path, aszarr=True, series=0, level=0)
        weakref.finalize(self, store.close)
        self._data = _pages(store)

    def __getitem__(self, key: Any) -> Any:
        """Read by a tuple of slices."""
        with self._lock:
            return np.asarray(self._data[key])

    def __reduce__(self) -> tuple[type["TiffArray"], tuple[str]]:
        """Reopen from the same place."""
        return TiffArray, (self._path,)


def read_tiff(location: Location, level: int, voxel_size: Sequence[float] | None) -> Source:
    """Open the first series; a voxel size counts as stated when OME or ImageJ metadata give it with a unit.

    Raises
    ------
    FormatError
        The file is truncated or corrupt.
    InputError
        A level other than 0 is asked for.
    """
    if level != 0:
        raise InputError(f"{location.name}: no level {level}; a TIFF is read at its full resolution.")
    try:
        array = TiffArray(location.container)
    except ConnectomicsError:
        raise
    except Exception as error:
        raise FormatError(
            f"{location.name}: the TIFF file is truncated or corrupt ({error}). Copy or make the file again."
        ) from error
    return Source(
        array=array, axes=array.axes, name=location.name, format="TIFF", voxel_size=array.voxel_size
    )


def _pages(store: Any) -> Any:
    """Open the zarr store that tifffile makes of a file's pages."""
    import zarr

    return zarr.open_array(store, mode="r")


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs of pages that are missing: it would go on with fewer."""
    found: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        missing = "invalid page" in record.getMessage() or "failed to reshape" in record.getMessage()
        if missing:
            found.append(record.getMessage())
        return not missing

    logger = logging.getLogger("tifffile")
    logger.addFilter(keep)
    try:
        yield found
    finally:
        logger.removeFilter(keep)


def _axes(letters: str) -> str:
    """Letters as a Source writes them; axes that the file leaves unnamed become z, then c, then t."""
    named = ["" if letter in "QIR" else letter.lower() for letter in letters]
    free = [axis for axis in "tcz" if axis not in named]
    for index in reversed(range(len(named))):
        if not named[index]:
            named[index] = free.pop() if free else "?"
    return "".join(named)


def _ome_voxel_size(file: Any) -> list[float] | None:
    import tifffile

    if not file.is_ome or not file.ome_metadata:
        return None
    images = tifffile.xml2dict(file.ome_metadata).get("OME", {}).get("Image", {})
    pixels = (images[0] if isinstance(images, list) else images).get("Pixels", {})
    sizes = []
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")  # the default that the OME schema states
        if size is None or not is_length(unit):
            return None
        sizes.append(float(f"{float(size) * nanometres(unit, 'OME-TIFF'):.12g}"))
    return sizes


def _imagej_voxel_size(file: Any) -> list[float] | None:
    stated = file.imagej_metadata or {}
    unit, spacing = stated.get("unit"), stated.get("spacing")
    tags = file.pages[0].tags
    if not is_length(unit) or spacing is None or "XResolution" not in tags or "YResolution" not in tags:
        return None
    factor = nanometres(str(unit), "ImageJ TIFF")
    sizes = [float(spacing) * factor]
    for tag in ("YResolution", "XResolution"):
        pixels, units = tags[tag].value
        if not pixels or not units:
            return None
        sizes.append(units / pixels * factor)
    return [float(f"{size:.6g}") for size in sizes]
