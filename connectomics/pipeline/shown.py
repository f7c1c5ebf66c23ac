"""Scores of what a viewer shows, as it was found and after edits, and where its errors are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectomics.blockwise.progress import Progress, Silent
from connectomics.evaluation.compare import evaluate
from connectomics.evaluation.nodes_in_region import find_nodes
from connectomics.evaluation.places import places_of_losses
from connectomics.evaluation.scores import json_ready
from connectomics.evaluation.xpress import xpress_figures
from connectomics.evaluation.xpress_errors import xpress_errors
from connectomics.io.skeletons import Skeletons
from connectomics.io.volume import Volume
from connectomics.pipeline.error_list import ErrorList, listed_errors
from connectomics.roi import Roi

LISTED = 500
"""Errors that are listed at most, the costliest first."""

KEPT = 50
"""Objects whose losses get a place: each is looked for in the volume."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores before and after the edits (None where there are none), and the errors that are left."""

    before: Mapping[str, Any]
    after: Mapping[str, Any] | None
    errors: ErrorList


def compare_shown(
    found: Volume,
    edited: Volume | None,
    truth: Volume | Skeletons,
    *,
    xpress: bool = False,
    roi: Roi | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare a segmentation, and what edits made of it, with truth.

    Parameters
    ----------
    found
        The segmentation as it was found.
    edited
        The same after edits, where there are any.
    truth
        Labels on the same voxel grid, or skeletons.
    xpress
        With skeletons: the figures of the XPRESS challenge (`score`) and not those of `evaluate`.
    roi
        Compare this part only, nm.
    progress
        Told of the blocks.

    Raises
    ------
    InputError, GeometryError
        As `evaluate`, and `score`.
    """
    watcher = progress or Silent()
    measure = _xpress if xpress and isinstance(truth, Skeletons) else _evaluate
    before, errors = measure(found, truth, roi, watcher, listed=edited is None)
    if edited is None:
        return Comparison(before, None, errors)
    after, errors = measure(edited, truth, roi, watcher, listed=True)
    return Comparison(before, after, errors)


def _evaluate(
    volume: Volume, truth: Any, roi: Roi | None, progress: Progress, *, listed: bool
) -> tuple[dict[str, Any], ErrorList]:
    number = 0 if not listed else KEPT if isinstance(truth, Volume) else LISTED
    scores = evaluate(volume, truth, roi=roi, worst=number, progress=progress)
    worst = scores.pop("worst", [])
    if isinstance(truth, Volume) and worst:
        places = places_of_losses(worst, volume, truth, roi)
        worst = [_placed(loss, place) for loss, place in zip(worst, places, strict=True) if place]
    return scores, listed_errors(worst)


def _placed(loss: Mapping[str, Any], place: Any) -> dict[str, Any]:
    """A loss in the words of an error along skeletons; its cost is bits, not nm."""
    parts = [int(part["id"]) for part in loss["parts"][:2]]
    split = loss["kind"] == "split"
    labels, objects = (parts, [loss["label"]]) if split else ([loss["label"]], parts)
    said = {"kind": loss["kind"], "position_nm": list(place), "cost_nm": float("nan"), "bits": loss["bits"]}
    return said | {"labels": labels, "skeletons": objects}


def _xpress(
    volume: Volume, truth: Any, roi: Roi | None, progress: Progress, *, listed: bool
) -> tuple[dict[str, Any], ErrorList]:
    nodes = find_nodes(volume, truth, roi or volume.roi, 1, progress)
    if nodes.overflows:
        nodes = nodes.relabelled()
    errors = [error.as_dict() for error in xpress_errors(nodes)[:LISTED]] if listed else []
    return dict(json_ready(xpress_figures(nodes))), listed_errors(errors)
