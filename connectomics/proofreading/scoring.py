"""Run length before and after the edits."""

from typing import Any

import numpy as np

from connectomics.errors import InputError
from connectomics.evaluation.skeleton_errors import skeleton_errors
from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.io.skeletons import Skeletons
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output
from connectomics.proofreading.split import fragments_at


def score_edits(output: Output, mapping: SegmentMap, skeletons: Skeletons) -> dict[str, Any]:
    """See `connectomics.proofreading.session.ReviewSession.score`.

    Raises
    ------
    InputError
        No node of the skeletons lies in the volume.
    """
    inside = skeletons.crop(output.fragments.roi)
    if not len(inside):
        raise InputError(
            "score: no skeleton node lies in the volume; are the skeletons of this one, and in nm?"
        )
    names = fragments_at(output, SegmentMap(output.lut, output.voxels), inside.nodes)
    found = output.lut[names]
    if mapping.cuts:
        names = fragments_at(output, mapping, inside.nodes)
    known = {name: mapping.segment_of(name) for name in set(names.tolist()) - {0}} | {0: 0}
    edited = [known[name] for name in names.tolist()]
    after = np.array(edited, np.uint64)
    return {
        "before": skeleton_scores(found, inside),
        "after": skeleton_scores(after, inside),
        "errors": skeleton_errors(after, inside),
    }
