"""Where a volume is: the file or group that holds it, the data set inside, the format told by content."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from connectomics.errors import FormatError, InputError
from connectomics.io.place import Place, RemotePath, as_place, is_url

Format = Literal["zarr", "hdf5", "tiff", "n5", "precomputed"]

_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_LISTED = 20


@dataclass(frozen=True)
class Location:
    """A container on disk (or its URL), the path of the data set inside it, and the container's format."""

    container: str
    inner: str
    format: Format

    @property
    def name(self) -> str:
        """Container and data set as the user writes them."""
        return f"{self.container}/{self.inner}" if self.inner else self.container


def locate(location: str | Place) -> Location:
    """Split ``file.h5/data/set`` or ``out.zarr/labels/segmentation`` into container and data set.

    Raises
    ------
    InputError
        There is nothing at that path.
    FormatError
        What is there is no volume.
    """
    place = as_place(location)
    if isinstance(place, RemotePath):
        return Location(str(place), "", "zarr")
    path = Path(os.path.abspath(place.expanduser()))  # workers may run in another folder
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    inner = path.relative_to(existing).as_posix() if path != existing else ""
    if existing.is_dir():
        return _inside_folder(path, existing, inner)
    kind = file_format(existing)
    if kind is None and inner:
        raise InputError(f"{path}: no such path; {existing} is a file that holds no data sets.")
    if kind is None:
        raise FormatError(
            f"{path}: not a volume: expected OME-Zarr, HDF5, TIFF, N5 or precomputed, "
            f"got a file that starts with {_first_bytes(existing)!r}."
        )
    if kind == "tiff" and inner:
        raise InputError(f"{path}: no such path; {existing} is a TIFF file, which holds no data sets.")
    return Location(str(existing), inner, kind)


def file_format(path: Path) -> Format | None:
    """Format of a file by its first bytes; None where it is no volume."""
    with path.open("rb") as stream:
        start = stream.read(8)
        if start.startswith(_TIFF_MAGICS):
            return "tiff"
        block = 0
        while len(start) == 8:
            if start == _HDF5_MAGIC:
                return "hdf5"
            block = max(512, 2 * block)
            stream.seek(block)
            start = stream.read(8)
    return None


def folder_format(path: Path) -> Format | None:
    """Format of a folder by the metadata files in it; None where it is no volume."""
    if any((path / name).is_file() for name in _ZARR_FILES):
        return "zarr"
    if (path / "attributes.json").is_file():
        return "n5"
    return "precomputed" if _is_precomputed(path / "info") else None


def missing_data_set(name: str, wanted: str, there: Sequence[str]) -> InputError:
    """The error for a data set that is not there; it names those that are."""
    listed = ", ".join(there[:_LISTED]) + (
        f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    )
    what = f"no data set '{wanted}' in it" if wanted else "holds more than one data set: name one"
    if not there:
        return InputError(f"{name}: {what if wanted else 'no array in it'}; it holds none.")
    return InputError(f"{name}: {what}. There: {listed}.")


def _inside_folder(path: Path, existing: Path, inner: str) -> Location:
    for folder in reversed([existing, *existing.parents]):
        kind = folder_format(folder)
        if kind is not None:
            rest = path.relative_to(folder).as_posix()
            return Location(str(folder), "" if rest == "." else rest, kind)
    if inner:
        raise InputError(f"{path}: no such path; the nearest that exists is {existing}.")
    raise FormatError(
        f"{path}: not a volume: a folder with no zarr, N5 or precomputed metadata in it. "
        "Name a volume inside it."
    )


def _is_precomputed(info: Path) -> bool:
    if not info.is_file() or info.stat().st_size > 64 * 2**20:
        return False
    try:
        return "scales" in json.loads(info.read_text())
    except (ValueError, TypeError):
        return False


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(8)


def lies_in(name: str, folder: str) -> bool:
    """Whether a place is another, or inside it; on disk links are followed."""
    if is_url(name) or is_url(folder):
        return f"{name}/".startswith(f"{folder.rstrip('/')}/")
    return Path(name).resolve().is_relative_to(Path(folder).resolve())
