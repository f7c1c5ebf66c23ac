"""The file that the XPRESS challenge takes: a zip of `submission.h5`, opened and looked over."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from connectomics.errors import ConnectomicsError, FormatError, GeometryError, InputError
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
        The region to be scored, nm; it places a file that states neither voxel size nor offset, and a zip's
        file must fill it exactly where it is one of `SPLITS`.

    Raises
    ------
    InputError
        There is no such file or data set, it is damaged, or it says too little to be placed in space.
    """
    path = Path(location).expanduser()
    if not _is_zip(path):
        yield _look_over(_source(location, data_set), voxel_size, region)
        return
    with tempfile.TemporaryDirectory(prefix="connectomics-") as folder:
        file, member, faults = _unpack(path, Path(folder))
        try:
            source = _source(f"{file}", data_set)
        except ConnectomicsError as error:
            raise type(error)(str(error).replace(f"{file}", f"{path}/{member}")) from None
        inner = source.name.removeprefix(f"{file}").strip("/")
        source = replace(source, name=source.name.replace(f"{file}", f"{path}/{member}"))
        found = _look_over(source, voxel_size, region)
        faults += [*found.faults, *_refused(found.volume, inner, region)]
        yield replace(found, faults=tuple(faults))


def _is_zip(path: Path) -> bool:
    """True also for a zip whose end, with the list of what is in it, is lost."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04" or zipfile.is_zipfile(path)


def _unpack(path: Path, folder: Path) -> tuple[Path, str, list[str]]:
    """The HDF5 file of a zip under a name of ours, its own name, and what the official check says of both."""
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
        raise FormatError(
            f"{path}: the zip is damaged or truncated ({error}). Copy or make it again."
        ) from None
    if names == [FILE_NAME]:
        return target, FILE_NAME, []
    fault = f"the zip must hold exactly one file, {FILE_NAME}; it holds {', '.join(names)}"
    return target, found[0].filename, [fault]


def _refused(volume: Volume, data_set: str, region: Roi | None) -> list[str]:
    """What the official check refuses in a zip's file; where `region` is no split's, any split's will do."""
    faults = []
    if data_set != DATA_SET:
        faults.append(f"its data set is named '{data_set}', and the official check opens '{DATA_SET}' alone")
    if volume.voxel_size != SUBMISSION_VOXEL_SIZE:
        faults.append(f"its voxel size is {volume.voxel_size} nm, not {SUBMISSION_VOXEL_SIZE}")
    regions = [one for one in SPLITS.values() if one == region] or list(SPLITS.values())
    if volume.roi not in regions:
        asked = " or ".join(dict.fromkeys(f"{one.offset} to {one.end}" for one in regions))
        faults.append(f"it spans {volume.roi.offset} to {volume.roi.end} nm, and the challenge's is {asked}")
    return faults


def _look_over(source: Source, voxel_size: Sequence[float] | None, region: Roi | None) -> Submission:
    faults = []
    official = source.format == "HDF5"
    dtype = np.dtype(source.array.dtype)
    if official and dtype != np.uint64:
        faults.append(f"its type is {dtype}, and the official scorer takes uint64 alone")
    if official and len(source.array.shape) != 3:
        shape = tuple(source.array.shape)
        faults.append(f"its shape {shape} is not 3-D, and the official scorer takes z y x alone")
    volume, missing = _placed(source, voxel_size, region)
    if official and missing:
        faults.append(missing)
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
