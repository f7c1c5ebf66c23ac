"""The file that the XPRESS challenge takes: a zip of `submission.h5`, opened and looked over."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from connectomics.errors import FormatError, GeometryError, InputError
from connectomics.io.locate import locate
from connectomics.io.opening import open_source, place
from connectomics.io.source import Source
from connectomics.io.volume import Volume
from connectomics.roi import Roi, Triple, triple

FILE_NAME = "submission.h5"
DATA_SET = "submission"
SUBMISSION_VOXEL_SIZE: Triple = (99.0, 99.0, 99.0)
NATIVE_VOXEL_SIZE: Triple = (33.0, 33.0, 33.0)

SPLITS = {
    "test": Roi((3267.0,) * 3, (33066.0,) * 3),
    "training": Roi((3267.0,) * 3, (33066.0,) * 3),
    "validation": Roi((8316.0,) * 3, (23067.0,) * 3),
}
"""The regions, nm, that the challenge evaluates (arXiv:2302.03819)."""


@dataclass(frozen=True)
class Submission:
    """A segmentation as the challenge would see it.

    Attributes
    ----------
    volume : Volume
        Labels, voxel size and offset in whole nm as the official scorer reads them.
    faults : tuple of str
        What makes the official check or the official scorer fail on this file; the volume is as it would be
        after the repair.
    notes : tuple of str
        What else one should know.
    """

    volume: Volume
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def open_submission(
    location: str,
    data_set: str | None = None,
    voxel_size: Sequence[float] | None = None,
    region: Roi | None = None,
) -> Iterator[Submission]:
    """Open a submission: the challenge's zip, its HDF5 file, or any other volume of labels.

    Parameters
    ----------
    location
        Path, a data set inside following its name.
    data_set
        Name of the data set, if not the one called `submission` or the only one.
    voxel_size
        nm, zyx, for a file that states none.
    region
        The region to be scored, nm; it places a file that states neither voxel size nor offset.

    Raises
    ------
    InputError
        There is no such file or data set, it is damaged, or it says too little to be placed in space.
    """
    path = Path(location).expanduser()
    if path.is_file() and zipfile.is_zipfile(path):
        with tempfile.TemporaryDirectory(prefix="connectomics-") as folder:
            file, faults = _unpack(path, Path(folder))
            yield _look_over(f"{file}", data_set, voxel_size, region, faults)
    else:
        yield _look_over(location, data_set, voxel_size, region, [])


def _unpack(path: Path, folder: Path) -> tuple[Path, list[str]]:
    """The HDF5 file of a zip, unpacked under a name of ours, and what the official check says to the zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            names = [m.filename for m in members]
            found = [m for m in members if Path(m.filename).suffix.lower() in (".h5", ".hdf5", ".hdf")]
            if len(found) != 1:
                raise InputError(
                    f"{path}: expected a zip of one {FILE_NAME}, got {', '.join(names) or 'nothing'}."
                )
            free = shutil.disk_usage(folder).free
            if found[0].file_size > free:
                raise InputError(
                    f"{path}: unpacks to {found[0].file_size / 1e9:.1f} GB, more than the "
                    f"{free / 1e9:.1f} GB that are free in {folder.parent}."
                )
            target = folder / FILE_NAME
            with archive.open(found[0]) as packed, target.open("wb") as stream:
                shutil.copyfileobj(packed, stream, 1 << 20)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise FormatError(f"{path}: the zip is damaged or truncated ({error}).") from None
    if names == [FILE_NAME]:
        return target, []
    return target, [f"the zip must hold exactly one file, {FILE_NAME}; it holds {', '.join(names)}"]


def _look_over(
    location: str,
    data_set: str | None,
    voxel_size: Sequence[float] | None,
    region: Roi | None,
    faults: list[str],
) -> Submission:
    source = _source(location, data_set)
    official = source.format == "HDF5"
    dtype = np.dtype(source.array.dtype)
    if official and dtype != np.uint64:
        faults = [*faults, f"its type is {dtype}, and the official scorer takes uint64 alone"]
    if official and len(source.array.shape) != 3:
        faults = [
            *faults,
            f"its shape {tuple(source.array.shape)} is not 3-D, and the official scorer takes z y x alone",
        ]
    volume, missing = _placed(source, voxel_size, region)
    if official and missing:
        faults = [*faults, missing]
    exact = volume.voxel_size, volume.offset
    whole = _whole_nm(exact[0]), _whole_nm(exact[1])
    notes = []
    if official and exact != whole:
        notes.append(
            f"voxel size and offset {exact} are read as whole nm {whole}, as the official scorer does"
        )
        volume = replace(volume, voxel_size=whole[0], offset=whole[1])
    return Submission(volume, tuple(faults), tuple(notes))


def _source(location: str, data_set: str | None) -> Source:
    if data_set:
        location = f"{location.rstrip('/')}/{data_set.strip('/')}"
    found = locate(location)
    if found.format == "hdf5" and not found.inner:
        from connectomics.io.hdf5 import list_hdf5

        if DATA_SET in list_hdf5(found.container):
            location = f"{location.rstrip('/')}/{DATA_SET}"
    return open_source(location)


def _placed(source: Source, voxel_size: Sequence[float] | None, region: Roi | None) -> tuple[Volume, str]:
    """The volume with its place in space, and what its file does not say of that."""
    lacks = [
        name
        for name, value in (("resolution", source.voxel_size), ("offset", source.offset))
        if value is None
    ]
    if not lacks:
        return place(source, None, channels=False), ""
    shape = tuple(source.array.shape)[-3:]
    missing = (
        f"it has no attribute {' and no '.join(repr(name) for name in lacks)}, and the official scorer then "
        "takes 1 nm and 0 nm"
    )
    size = source.voxel_size or voxel_size
    if size is None and region is not None:
        fitting = [length / n for length, n in zip(region.size, shape, strict=True)]
        size = fitting if all(v == int(v) and v % NATIVE_VOXEL_SIZE[0] == 0 for v in fitting) else None
    if size is None:
        raise GeometryError(
            f"{source.name}: {missing}, so that it finds no skeleton node and fails. Give the voxel size in "
            "nm with --voxel-size Z Y X, and the region with --split, or write the attributes (nm, z y x)."
        )
    volume = place(source, size, channels=False)
    if source.offset is None and region is not None and volume.roi.size == region.size:
        volume = replace(volume, offset=region.offset)
    return volume, f"{missing}; here they are {volume.voxel_size} and {volume.offset} nm"


def _whole_nm(values: Triple) -> Triple:
    return triple([float(int(v)) for v in values])
