"""A whole array, agglomerated once and cut at many thresholds."""

import numpy as np
import pytest

from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import at_thresholds, segment_array

THRESHOLDS = [0.7, 0.2, 0.5]


@pytest.mark.parametrize("linkage", ["mean", "median", "percentile95"])
def test_every_threshold_gives_what_a_segmentation_at_it_alone_gives(drawn, linkage):
    _, affinities = drawn.tubes_and_cells((40, 40, 40), noise=2.0)
    settings = SegmentationSettings(linkage=linkage, min_object=30)
    found = list(at_thresholds(affinities, drawn.NEAREST, settings, THRESHOLDS))
    assert [threshold for threshold, _ in found] == THRESHOLDS
    for threshold, labels in found:
        at_it = settings.model_copy(update={"threshold": threshold})
        *_, alone = segment_array(affinities, drawn.NEAREST, at_it)
        assert np.array_equal(labels, alone)
    assert len({len(np.unique(labels)) for _, labels in found}) > 1  # they differ: the test can fail


def test_no_objects_at_any_threshold_where_there_are_no_affinities(drawn):
    settings = SegmentationSettings()
    nothing = np.zeros((3, 8, 8, 8), np.uint8)
    assert not any(labels.any() for _, labels in at_thresholds(nothing, drawn.NEAREST, settings, [0.1]))
