"""Where a segmentation is wrong, voxel by voxel: split, merge or missing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.evaluation.contingency import Contingency, count_contingency

RIGHT, SPLIT, MERGE, MISSING = 0, 1, 2, 3


def error_map(
    segmentation: NDArray[Any], truth: NDArray[Any], table: Contingency | None = None
) -> NDArray[np.uint8]:
    """Mark each voxel whose segment is not the match of its truth object.

    An object's match is the segment that covers most of it, a segment's match the object of which it
    covers most (ties to the smaller id). A voxel is a merge where its segment's match is another object,
    else a split where its object's match is another segment, missing where the segment is 0.

    Parameters
    ----------
    segmentation, truth
        Labels of one shape; truth 0 is never wrong.
    table
        Counts over the volume that the arrays are part of; counted from the arrays when None.

    Returns
    -------
    ndarray of uint8
        0 right (or no truth), 1 split, 2 merge, 3 missing.
    """
    table = count_contingency(segmentation, truth) if table is None else table
    filled = table.segment != 0
    pairs = Contingency(table.truth[filled], table.segment[filled], table.count[filled])
    best_segment = _best(pairs.truth, pairs.segment, pairs.count)
    best_truth = _best(pairs.segment, pairs.truth, pairs.count)
    known = truth != 0
    errors = np.zeros(truth.shape, np.uint8)
    truth_here, segment_here = truth[known].astype(np.uint64), segmentation[known].astype(np.uint64)
    wrong = np.where(_look_up(best_segment, truth_here) != segment_here, SPLIT, RIGHT)
    wrong = np.where(_look_up(best_truth, segment_here) != truth_here, MERGE, wrong)
    errors[known] = np.where(segment_here == 0, MISSING, wrong)
    return errors


def _best(
    ids: NDArray[np.uint64], partners: NDArray[np.uint64], count: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Ids (sorted) and the partner of each with the highest count."""
    order = np.lexsort((partners, -count, ids))
    names, first = np.unique(ids[order], return_index=True)
    return names, partners[order][first]


def _look_up(
    match: tuple[NDArray[np.uint64], NDArray[np.uint64]], ids: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """The partner of each id; 0 where it has none."""
    names, partners = match
    if not names.size:
        return np.zeros(ids.shape, np.uint64)
    position = np.minimum(np.searchsorted(names, ids), names.size - 1)
    return np.where(names[position] == ids, partners[position], np.uint64(0))
