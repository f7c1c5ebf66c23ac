"""Score a submission as the XPRESS challenge does, and say what its scorer would make of the file."""

import csv
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from connectomics.blockwise.progress import Progress
from connectomics.errors import InputError, OutputExistsError
from connectomics.evaluation.nodes_in_region import NodesInRegion, find_nodes
from connectomics.evaluation.sampling import voxels_of_nodes
from connectomics.evaluation.settings import ScoreSettings, Split
from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.evaluation.xpress import xpress_figures
from connectomics.evaluation.xpress_oddities import find_oddities
from connectomics.io.files import write_atomically
from connectomics.io.place import local_path
from connectomics.io.skeletons import Skeletons, read_skeletons
from connectomics.io.submission import SPLITS, Submission, open_submission
from connectomics.io.volume import Volume
from connectomics.pipeline.settings import RegionSettings
from connectomics.roi import Roi, triple

_log = logging.getLogger(__name__)

COLUMNS = (
    "kind", "cost_nm", "z_nm", "y_nm", "x_nm", "z_voxel", "y_voxel", "x_voxel",
    "skeleton_1", "skeleton_2", "segment_1", "segment_2",
)  # fmt: skip


def score_submission(
    location: str,
    skeletons: str,
    settings: ScoreSettings,
    region: RegionSettings,
    progress: Progress,
) -> dict[str, Any]:
    """Every figure of the official scorer, `nerl` beside them, and what is odd about either.

    Parameters
    ----------
    location
        Submission: the challenge's zip or HDF5, or any volume of labels.
    skeletons
        The truth: the challenge's pickle, SWC or npz.
    settings, region
        What to score.
    progress
        Told of the blocks read.

    Returns
    -------
    dict
        The figures (see `evaluation.xpress.xpress_figures`), ``nerl``, ``region_nm``, ``faults`` (why the
        official tools would fail), ``after_repair`` (True where the figures are those of the repaired file),
        ``notes``, ``oddities``, and ``errors_csv`` where asked for.
    """
    if settings.errors is not None:
        _check_errors_file(local_path(settings.errors, "--errors"))
    asked = chosen_region(settings.split, region)
    truth = read_skeletons(skeletons)
    with open_submission(location, settings.dataset, region.voxel_size, asked) as submission:
        volume = submission.volume
        evaluated = asked or volume.roi
        found = find_nodes(volume, truth, evaluated, settings.downsample, progress)
        faults = [*submission.faults, *_overflow(found)]
        turned = _axes_look_turned(submission.volume, truth, evaluated, found)
        if settings.strict and (faults or turned):
            raise InputError(f"{location}: --strict: {'; '.join([*faults, *turned])}.")
        if found.overflows:
            found = found.relabelled()
        figures = xpress_figures(found)
        report: dict[str, Any] = {
            **figures,
            "nerl": skeleton_scores(found.labels, found.skeletons)["nerl"],
            "region_nm": {"offset": evaluated.offset, "size": evaluated.size},
            "faults": faults,
            "after_repair": bool(faults),
            "notes": [*submission.notes, *turned, *_other_region(asked, submission)],
            "oddities": [oddity.as_dict() for oddity in find_oddities(found, figures)],
        }
        if settings.errors is not None:
            write_errors(settings.errors, found, volume)
            report["errors_csv"] = str(settings.errors)
    for fault in faults:
        _log.warning("the official tools would fail: %s. The figures are those after the repair.", fault)
    for note in report["notes"]:
        _log.warning("%s", note)
    return report


def chosen_region(split: Split | None, region: RegionSettings) -> Roi | None:
    """The region to score, nm; None for the whole file.

    Raises
    ------
    InputError
        A split and a region, or half a region.
    """
    if region.roi_offset is None and region.roi_size is None:
        return SPLITS[split] if split else None
    if split:
        raise InputError(f"--split {split} names a region already: leave out --roi-offset and --roi-size.")
    if region.roi_offset is None or region.roi_size is None:
        raise InputError("--roi-offset and --roi-size: give both, or --split.")
    return Roi(triple(region.roi_offset, "--roi-offset"), triple(region.roi_size, "--roi-size"))


def write_errors(path: Path, found: NodesInRegion, volume: Volume) -> None:
    """Write the list of errors (`xpress_errors`) as CSV, `COLUMNS`; voxels are those of `volume`."""
    from connectomics.evaluation.xpress_errors import xpress_errors

    errors = xpress_errors(found)
    places = np.array([error.position for error in errors]).reshape(-1, 3)
    voxels = voxels_of_nodes(places, volume.voxel_size, volume.offset).tolist()
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for error, voxel in zip(errors, voxels, strict=True):
        position = [round(value, 3) for value in error.position]
        segments = error.labels if len(error.labels) == 2 else error.labels * 2
        table.writerow([error.kind, round(error.cost_nm, 6), *position, *voxel, *error.skeletons, *segments])
    try:
        write_atomically(path, text.getvalue().encode())
    except OSError as error:
        raise OutputExistsError(f"--errors {path}: cannot write it: {error}.") from None


def _check_errors_file(path: Path) -> None:
    """Refuse a file that holds something else than an earlier list of errors."""
    if path.is_dir():
        raise OutputExistsError(f"--errors {path}: is a folder. Name a CSV file.")
    if not path.parent.is_dir():
        raise OutputExistsError(
            f"--errors {path}: there is no folder {path.parent}. Make it, or name another."
        )
    if not path.exists():
        return
    header = ",".join(COLUMNS).encode()
    with path.open("rb") as file:
        begins = file.read(len(header))
    if begins not in (b"", header):
        raise OutputExistsError(
            f"--errors {path}: holds something else than a list of errors, and was not touched. Name another."
        )


def _overflow(found: NodesInRegion) -> list[str]:
    if not found.overflows:
        return []
    return [
        f"label {found.highest} leaves no room for the labels that the official scorer gives to background "
        "nodes (they overflow 64 bits); relabel below 2^53"
    ]


def _axes_look_turned(volume: Volume, truth: Skeletons, region: Roi, found: NodesInRegion) -> list[str]:
    """A note where the segmentation follows the skeletons far better with its axes read backwards."""
    followed = _followed(found)
    if followed > 0.5 or not found.highest or len(set(volume.shape)) > 1 or len(set(region.size)) > 1:
        return []
    low = np.asarray(region.offset)
    turned = Skeletons((truth.nodes - low)[:, ::-1] + low, truth.edges, truth.ids, truth.radii)
    backwards = _followed(find_nodes(volume, turned, region))
    if backwards < 0.2 + 2 * followed:
        return []
    return [
        f"the axes look turned: {followed:.0%} of the skeletons' edges lie in one segment, and "
        f"{backwards:.0%} if the segmentation is read x y z. Write it in z y x order (the figures are for "
        "the file as it is)"
    ]


def _followed(found: NodesInRegion) -> float:
    """Share of the edges whose two ends are in one segment."""
    if not len(found.edges):
        return 1.0
    first, second = found.labels[found.edges.T]
    return float(np.mean((first == second) & (first != 0)))


def _other_region(asked: Roi | None, submission: Submission) -> list[str]:
    whole = submission.volume.roi
    if asked is not None or whole in SPLITS.values():
        return []
    fitting = [name for name, roi in SPLITS.items() if whole.contains(roi)]
    if not fitting:
        return []
    return [
        f"the whole file is scored, {whole.offset} to {whole.end} nm; the challenge scores less of it: give "
        f"--split {' or '.join(fitting)}"
    ]
