"""A whole array, agglomerated once and cut at many thresholds."""

import numpy as np
import pytest

from connectomics.adaptation.stakes import crop_at_stake
from connectomics.affinities import NEAREST
from connectomics.segmentation.calibration import Calibration
from connectomics.segmentation.heights import outlined
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


def test_an_outline_keeps_both_ends_of_an_object_whose_middle_is_dim():
    affinities = np.full((3, 12, 12, 60), 20, np.uint8)
    affinities[:, 2:10, 2:10, 2:58] = 250
    affinities[:, 2:10, 2:10, 27:33] = 170
    settings = SegmentationSettings(outline=0.8)
    outlined = segment_array(affinities, NEAREST, settings)[3]
    plain = segment_array(affinities, NEAREST, settings.model_copy(update={"outline": 0.0}))[3]
    one = plain[6, 6, 10]
    assert one > 0 and (plain[6, 6, 3:57] == one).all()
    assert (plain[6, 0] == one).any(), "fragments grow into the boundary"
    assert outlined[6, 6, 10] == outlined[6, 6, 50] == one
    assert not outlined[6, 6, 27:33].any() and not outlined[:, :2].any() and not outlined[:, 10:].any()


def test_a_proposal_for_annotation_has_the_outline():
    affinities = np.full((3, 12, 12, 60), 20, np.uint8)
    affinities[:, 2:10, 2:10, 2:58] = 250
    for outline, kept in ((0.8, 0), (0.0, 1)):
        settings = SegmentationSettings(outline=outline)
        at_stake = crop_at_stake(affinities, NEAREST, (10.0, 10.0, 10.0), settings, Calibration.parse(None))
        labels = at_stake[1]
        assert labels[6, 6, 30] > 0 and (labels[6, 0, 30] > 0) == kept


def test_the_volumes_lower_faces_have_no_neighbour_to_count():
    affinities = np.full((3, 8, 8, 8), 250, np.uint8)
    for axis in range(3):
        affinities[axis][tuple(0 if a == axis else slice(None) for a in range(3))] = 0
    labels = np.ones((8, 8, 8), np.uint64)
    assert outlined(labels, affinities, (0, 0, 0), 0.8).ravel()[1:].all(), "the corner has no neighbour"
    assert not outlined(labels, affinities, (8, 8, 8), 0.8)[0].any()
