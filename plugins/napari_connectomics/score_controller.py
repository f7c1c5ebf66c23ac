"""Scoring without a screen: what is compared with what, in words, and where the errors are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectomics.errors import ConnectomicsError, InputError
from connectomics.io.opening import open_volume
from connectomics.io.place import is_url
from connectomics.io.skeletons import Skeletons, read_skeletons
from connectomics.io.volume import Volume
from connectomics.pipeline.error_list import ErrorList
from connectomics.pipeline.layer import Layer
from connectomics.pipeline.shown import Comparison, compare_shown
from connectomics.proofreading.log import FOLDER
from connectomics.roi import Roi
from napari_connectomics.sessions import session_on

WORDS = {
    "nerl": "normalised run length",
    "erl_nm": "expected run length, nm",
    "voi_sum": "variation of information, bits",
    "voi_split": "... of it by splits",
    "voi_merge": "... of it by merges",
    "adapted_rand_error": "adapted Rand error",
    "xpress_erl_rand": "XPRESS rank (ERL and Rand)",
    "n_split_edges": "split edges",
    "n_merged_edges": "merged edges",
    "n_segments": "segments",
    "n_truth": "true objects",
}
"""The scores that come first, in words; the others follow under their own names."""


@dataclass(frozen=True)
class Row:
    """One score, as text: before the edits, and after them ("" where there are none)."""

    name: str
    before: str
    after: str
    key: str


class BlocksDone:
    """Progress that a dock can ask for at any time."""

    def __init__(self) -> None:
        self.total, self.done = 0, 0

    def start(self, step: str, total: int, done: int, unit: str = "blocks") -> None:
        """A step begins."""
        self.total, self.done = self.total + total, self.done + done

    def advance(self, step: str, units: int = 1) -> None:
        """More is done."""
        self.done += units

    def finish(self, step: str) -> None:
        """The step is over."""


def score_of(
    layer: Layer | None, truth: Layer | str | None, xpress: bool, roi: Roi | None, progress: BlocksDone
) -> Comparison:
    """Compare a shown segmentation with truth, before and after the edits of an open review; takes its time.

    Parameters
    ----------
    layer
        The segmentation.
    truth
        A shown label volume or skeletons, or a place where either is.
    xpress
        Figures of the XPRESS challenge.
    roi
        This part only.
    progress
        Told of the blocks.

    Raises
    ------
    InputError
        Nothing was chosen, or the two do not fit each other.
    """
    if layer is None:
        raise InputError("choose a segmentation: one that was opened with this plugin.")
    if truth is None or truth == "":
        raise InputError("choose the truth: a shown label volume or skeletons, or a file.")
    found = open_volume(layer.location, layer.voxel_size)
    true = _truth(truth)
    if isinstance(true, Volume) and true.name == found.name:
        raise InputError("the segmentation and the truth are the same volume.")
    if xpress and isinstance(true, Volume):
        raise InputError("the XPRESS challenge scores against skeletons: choose some as the truth.")
    session = session_on(layer.location)
    edited = session.levels[0].volume if session is not None else None
    return compare_shown(found, edited, true, xpress=xpress, roi=roi, progress=progress)


def _truth(truth: Layer | str) -> Volume | Skeletons:
    location = truth if isinstance(truth, str) else truth.location
    if isinstance(truth, Layer) and truth.volumes:
        return truth.volumes[0]
    if not is_url(location):
        location = str(Path(location).expanduser())
    try:
        return read_skeletons(location)
    except ConnectomicsError as no_skeletons:
        try:
            return open_volume(location)
        except ConnectomicsError:
            raise no_skeletons from None


def unseen_edits(layer: Layer | None) -> list[str]:
    """Authors whose edits lie beside a segmentation while no review of it is open: they are not scored."""
    if layer is None or is_url(layer.location) or session_on(layer.location) is not None:
        return []
    outputs = Path(layer.location).parents[1:2]  # OUT.zarr of OUT.zarr/labels/NAME
    logs = [log for output in outputs for log in (output / FOLDER).glob("*.jsonl")]
    return sorted(log.stem for log in logs if log.stat().st_size)


def rows(comparison: Comparison) -> list[Row]:
    """The scores as a table, those that matter first."""
    before, after = comparison.before, comparison.after
    keys = [key for key in WORDS if key in before] + [key for key in before if key not in WORDS]
    plain = [key for key in keys if not isinstance(before[key], Mapping | list)]
    return [
        Row(WORDS.get(key, key), shown(before[key]), shown(after[key]) if after else "", key) for key in plain
    ]


def shown(value: Any) -> str:
    """A score as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def error_lines(errors: ErrorList) -> list[str]:
    """One line an error, the costliest first."""
    columns = errors.features
    lines = []
    for i in range(len(errors)):
        kind, cost = str(columns["kind"][i]), float(columns["cost_nm"][i])
        price = f"{cost:,.0f} nm" if not math.isnan(cost) else f"{float(columns['bits'][i]):.4f} bits"
        ids = sorted({int(columns["segment_1"][i]), int(columns["segment_2"][i])})
        lines.append(f"{kind}, {price}, segment {' and '.join(str(one) for one in ids)}")
    return lines
