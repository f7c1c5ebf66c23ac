"""Pack a segmentation as an XPRESS submission, and check the zip as the challenge's tools would read it."""

import logging
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.progress import Progress
from connectomics.errors import GeometryError, InputError, OutputExistsError, RunFailed
from connectomics.evaluation.nodes_in_region import as_labels
from connectomics.evaluation.settings import Split
from connectomics.io.opening import open_volume
from connectomics.io.place import local_path
from connectomics.io.staging import unwritable
from connectomics.io.strided import cut_box, read_strided
from connectomics.io.submission import (
    DATA_SET,
    FILE_NAME,
    SPLITS,
    SUBMISSION_VOXEL_SIZE,
    open_submission,
)
from connectomics.io.volume import Box, Volume
from connectomics.pipeline.settings import RegionSettings
from connectomics.roi import IntTriple, Roi

_CHUNK = 64
_EXACT_IN_FLOAT = 2**53

_log = logging.getLogger(__name__)


def pack_submission(
    location: str,
    out: Path,
    split: Split,
    region: RegionSettings,
    overwrite: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Crop, stride and cast a segmentation to what the challenge takes, and write the zip.

    Parameters
    ----------
    location
        Volume of labels whose voxel size divides 99 nm and that contains the region of `split`.
    out
        The zip; it appears when it is whole and has passed the check.
    split
        Region of the challenge; only `test` can be uploaded.
    region
        Voxel size for a volume that states none; no other region can be packed.
    overwrite
        Replace `out`.
    progress
        Told of the blocks packed.

    Returns
    -------
    dict
        Output, shape, stride, number of labelled voxels, largest label, checks passed.

    Raises
    ------
    InputError
        The volume does not contain the region, its voxels do not fit, or its values are no labels.
    RunFailed
        The zip does not pass the check.
    """
    if region.roi_offset is not None or region.roi_size is not None:
        raise InputError("submit: packs the region of --split; leave out --roi-offset and --roi-size.")
    local_path(out, "the zip")
    if out.is_dir():
        raise OutputExistsError(f"{out}: is a folder. Name a file, such as {out / FILE_NAME}.")
    if out.exists() and not overwrite:
        raise OutputExistsError(f"{out}: exists already; nothing was touched. Use --overwrite to replace it.")
    if out.exists() and out.resolve() in (Path(location).resolve(), *Path(location).resolve().parents):
        raise OutputExistsError(f"{out}: is the segmentation itself, which stays. Name another file.")
    volume = open_volume(location, region.voxel_size)
    box, stride = _fit(volume, SPLITS[split])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            labels = _strided(volume, box, stride, progress)
            _check_labels(labels, volume.name)
            packed = _pack(Path(folder), labels, SPLITS[split])
            checks = check_submission(packed, split)
            os.replace(packed, out)
    except OSError as error:
        raise unwritable(error, str(out)) or error from None
    return {
        "output": str(out),
        "split": split,
        "shape": labels.shape,
        "stride": stride,
        "labelled_voxels": int(np.count_nonzero(labels)),
        "largest_label": int(labels.max()),
        "checks": checks,
    }


def check_submission(path: Path, split: Split = "test") -> list[str]:
    """Read a zip back and check what the official check looks at, and what makes the official scorer fail.

    Returns
    -------
    list of str
        What was checked.

    Raises
    ------
    RunFailed
        What is wrong with it.
    """
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise RunFailed(f"{path.name}: {broken} in it is damaged.")
    region = SPLITS[split]
    with open_submission(str(path), DATA_SET, region=region) as submission:
        volume = submission.volume
        if submission.faults:
            raise RunFailed(f"{path.name}: does not pass: {'; '.join(submission.faults)}.")
        boxes = cut_box(volume, volume.slices(volume.roi))
        highest = max(int(volume.read_box(box).max()) for box in boxes)
    if highest > _largest(volume.shape):
        raise RunFailed(f"{path.name}: does not pass: label {highest} overflows in the official scorer.")
    return [
        f"one file, {FILE_NAME}, undamaged",
        f"data set {DATA_SET}, 3-D, uint64",
        f"voxel size {SUBMISSION_VOXEL_SIZE} nm",
        f"region {region.offset} to {region.end} nm",
        f"largest label {highest} leaves room for the official scorer's own",
    ]


def _largest(shape: IntTriple) -> int:
    """The largest label after which every voxel could still get one of its own in 64 bits."""
    return 2**64 - 1 - int(np.prod(shape))


def _fit(volume: Volume, region: Roi) -> tuple[Box, IntTriple]:
    """The box of the region in the volume, and the stride to 99 nm."""
    factors = [want / have for want, have in zip(SUBMISSION_VOXEL_SIZE, volume.voxel_size, strict=True)]
    z, y, x = (round(factor) for factor in factors)
    if min(z, y, x) < 1 or any(abs(a - b) > 1e-6 for a, b in zip(factors, (z, y, x), strict=True)):
        raise GeometryError(
            f"{volume.name}: its voxel size {volume.voxel_size} nm does not divide the challenge's "
            f"{SUBMISSION_VOXEL_SIZE[0]:.0f} nm. Give a segmentation at 33 or 99 nm (or state the true "
            "size with --voxel-size)."
        )
    if not volume.roi.contains(region):
        raise GeometryError(
            f"{volume.name}: spans {volume.roi.offset} to {volume.roi.end} nm (z y x), which does not "
            f"contain the challenge's region {region.offset} to {region.end} nm. Segment that "
            "region, and check 'offset'."
        )
    return volume.slices(region), (z, y, x)


def _strided(volume: Volume, box: Box, stride: IntTriple, progress: Progress) -> NDArray[np.uint64]:
    """Every stride-th voxel of a box as uint64; the volume is read a block at a time."""
    shape = [len(range(s.start, s.stop, step)) for s, step in zip(box, stride, strict=True)]
    labels = np.zeros(shape, np.uint64)
    progress.start("pack", len(cut_box(volume, box)), 0)
    for target, part in read_strided(volume, box, stride):
        labels[target] = as_labels(part, volume.name)
        progress.advance("pack")
    progress.finish("pack")
    return labels


def _check_labels(labels: NDArray[np.uint64], name: str) -> None:
    highest = int(labels.max())
    z, y, x = labels.shape
    if highest > _largest((z, y, x)):
        raise InputError(
            f"{name}: label {highest} is too large: the official scorer gives labels above it to background "
            "nodes, and they overflow 64 bits. Relabel the segmentation (background is 0)."
        )
    if highest == 0:
        raise InputError(f"{name}: there is no label in the challenge's region, only background.")
    if highest > _EXACT_IN_FLOAT:
        _log.warning(
            "labels above 2^53 (here up to %d): the official scorer may miss merges under them; "
            "`score` says whether it does.",
            highest,
        )


def _pack(folder: Path, labels: NDArray[np.uint64], region: Roi) -> Path:
    """Write the HDF5 file and the zip around it."""
    file, packed = folder / FILE_NAME, folder / "submission.zip"
    with h5py.File(file, "w") as target:
        data = target.create_dataset(
            DATA_SET, data=labels, chunks=(_CHUNK,) * 3, compression="gzip", compression_opts=4, shuffle=True
        )
        data.attrs["resolution"] = np.array(SUBMISSION_VOXEL_SIZE, np.int64)
        data.attrs["offset"] = np.array(region.offset, np.int64)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # the HDF5 is compressed already
        archive.write(file, FILE_NAME)
    file.unlink()
    return packed
