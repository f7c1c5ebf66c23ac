"""Blocks against the whole volume, from affinities to segments: no seam may show."""

import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.evaluation.volumes import VoiTable
from connectomics.segmentation.fragments import required_halo
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import segment_array

THRESHOLDS = (0.2, 0.35, 0.5, 0.65, 0.8)
SHAPE = (128, 128, 128)
WATERSHED = SegmentationSettings(max_distance=8)
COMPONENTS = SegmentationSettings(fragments="components", boundary_threshold=0.5)


def scores(segmentation, truth):
    table = VoiTable()
    table.add(segmentation, truth)
    return table.scores()


@pytest.fixture(scope="module")
def volume(drawn):
    return drawn.tubes_and_cells(SHAPE, noise=2.0)


@pytest.fixture(scope="module")
def whole(volume, drawn):
    """Fragments and segmentations of the volume in one piece, by mean and by median."""
    made = drawn.fragments_in_blocks(volume[1], WATERSHED, max(SHAPE))
    graph = drawn.graph_of(made, volume[1], with_histogram=True)
    return made, {linkage: drawn.segmentations(made, graph, linkage, THRESHOLDS) for linkage in LINKAGES}


LINKAGES = ("mean", "median")


def test_the_volume_is_worth_the_test(volume, whole):
    made, segmentations = whole
    assert made.fragments.max() >= 500
    for linkage in LINKAGES:
        found = [scores(segmentation, volume[0]) for segmentation in segmentations[linkage]]
        assert min(score["n_segments"] for score in found) >= 50
        assert max(score["voi_sum"] for score in found) <= 2
        assert len({score["n_segments"] for score in found}) == len(THRESHOLDS), (
            "thresholds that change nothing"
        )


def test_the_halo_is_affordable():
    assert required_halo(WATERSHED) <= 32
    assert required_halo(SegmentationSettings()) <= 32
    assert required_halo(COMPONENTS) == 1


@pytest.mark.parametrize("block", [64, 96])
def test_blocks_give_the_segmentation_of_the_whole(volume, whole, drawn, block):
    blocks = drawn.fragments_in_blocks(volume[1], WATERSHED, block)
    assert len(blocks.links) > 100, "test invalid: hardly any path leaves its block"
    np.testing.assert_array_equal(blocks.fragments, whole[0].fragments)
    graph = drawn.graph_of(blocks, volume[1], with_histogram=True)
    for linkage in LINKAGES:
        made = drawn.segmentations(blocks, graph, linkage, THRESHOLDS)
        for ours, expected in zip(made, whole[1][linkage], strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_the_block_functions_give_what_segment_array_gives(volume, whole):
    settings = WATERSHED.model_copy(update={"threshold": THRESHOLDS[2]})
    fragments, _, _, segmentation = segment_array(volume[1], ((-1, 0, 0), (0, -1, 0), (0, 0, -1)), settings)
    np.testing.assert_array_equal(fragments, whole[0].fragments)
    np.testing.assert_array_equal(segmentation, whole[1]["mean"][2])


@pytest.mark.parametrize("block", [64, 96])
def test_blocks_give_the_components_of_the_whole(volume, drawn, block):
    one = drawn.fragments_in_blocks(volume[1], COMPONENTS, max(SHAPE))
    blocks = drawn.fragments_in_blocks(volume[1], COMPONENTS, block)
    np.testing.assert_array_equal(blocks.fragments, one.fragments)
    assert one.fragments.max() > 50


def test_without_the_links_seams_show(volume, drawn):
    with pytest.raises(InputError, match="links are missing"):
        drawn.fragments_in_blocks(volume[1], WATERSHED, 64, keep_links=False)
    one = drawn.fragments_in_blocks(volume[1], COMPONENTS, max(SHAPE)).fragments
    cut = drawn.fragments_in_blocks(volume[1], COMPONENTS, 64, keep_links=False).fragments
    assert scores(cut, one)["voi_sum"] > 0.1


def test_without_the_edges_across_faces_seams_show(volume, whole, drawn):
    blocks = drawn.fragments_in_blocks(volume[1], WATERSHED, 64)
    graph = drawn.graph_of(blocks, volume[1], across_faces=False)
    made = drawn.segmentations(blocks, graph, "mean", THRESHOLDS)
    same = [np.array_equal(a, b) for a, b in zip(made, whole[1]["mean"], strict=True)]
    assert not any(same)
