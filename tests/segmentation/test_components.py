"""Connected components of strong affinities: on a drawn line, against scipy, and in any blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from connectomics.affinities import NEAREST, shifted
from connectomics.errors import GeometryError
from connectomics.segmentation.components import components_fragments
from connectomics.segmentation.settings import SegmentationSettings

KNOBS = SegmentationSettings(fragments="components", boundary_threshold=0.5)


def reference(affinities, threshold):
    """Components numbered in the order of their first voxel; lone voxels are 0."""
    shape = affinities.shape[1:]
    index = np.arange(np.prod(shape)).reshape(shape)
    pairs = [
        np.stack([b, a], 1)
        for channel, offset in enumerate(NEAREST)
        for strong in [shifted(affinities[channel], offset)[0] > 255 * threshold]
        for a, b in [[view[strong] for view in shifted(index, offset)]]
    ]
    u, v = np.concatenate(pairs).T
    labels = connected_components(coo_matrix((np.ones(len(u)), (u, v)), (index.size, index.size)))[1]
    _, first, inverse, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    names = np.zeros(len(first), np.int64)
    kept = np.flatnonzero(counts > 1)
    names[kept[np.argsort(first[kept])]] = np.arange(1, len(kept) + 1)
    return names[inverse].reshape(shape)


def rough(seed, shape, share):
    random = np.random.default_rng(seed)
    return (255 * (random.random((3, *shape)) < share)).astype(np.uint8)


def test_a_drawn_line():
    affinities = np.zeros((3, 1, 1, 8), np.uint8)
    affinities[2, 0, 0] = [255, 200, 128, 127, 0, 127, 255, 255]
    box = (slice(0, 1), slice(0, 1), slice(0, 8))
    made = components_fragments(affinities, box, (0, 0, 0), (1, 1, 8), KNOBS)
    # 127 / 255 is not above a half; what stands below the volume's face says nothing
    assert made.labels.ravel().tolist() == [1, 1, 1, 0, 0, 2, 2, 2]
    assert made.keys.tolist() == [1, 6]
    assert made.sizes.tolist() == [3, 3]


def test_links_lead_through_the_lower_faces():
    affinities = np.full((3, 1, 1, 8), 255, np.uint8)
    box = (slice(0, 1), slice(0, 1), slice(1, 4))
    made = components_fragments(affinities[..., 2:7], box, (0, 0, 2), (1, 1, 8), KNOBS)
    assert made.keys.tolist() == [4]
    assert made.link_labels.tolist() == [1]
    assert made.link_voxels.tolist() == [[0, 0, 2]]


def test_a_voxel_joined_only_to_one_beyond_the_block_is_not_background():
    affinities = np.zeros((3, 1, 1, 6), np.uint8)
    affinities[2, 0, 0, 3] = 255  # voxels 2 and 3
    made = components_fragments(
        affinities[..., :4], (slice(0, 1), slice(0, 1), slice(0, 3)), (0, 0, 0), (1, 1, 6), KNOBS
    )
    assert made.labels.ravel().tolist() == [0, 0, 1]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.1, 0.25, 0.5, 0.9]), block=st.integers(2, 11))
def test_any_blocks_agree_with_scipy(drawn, seed, share, block):
    affinities = rough(seed, (9, 10, 11), share)
    blocks = drawn.fragments_in_blocks(affinities, KNOBS, block)
    np.testing.assert_array_equal(blocks.fragments, reference(affinities, 0.5))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9])
def test_every_threshold_of_a_graded_volume(drawn, threshold):
    affinities = np.random.default_rng(1).integers(0, 256, (3, 12, 13, 14)).astype(np.uint8)
    knobs = SegmentationSettings(fragments="components", boundary_threshold=threshold)
    made = drawn.fragments_in_blocks(affinities, knobs, 7).fragments
    np.testing.assert_array_equal(made, reference(affinities, threshold))


def test_without_links_fragments_end_at_the_seams(drawn):
    affinities = rough(0, (20, 20, 20), 0.2)
    whole = drawn.fragments_in_blocks(affinities, KNOBS, 20).fragments
    cut = drawn.fragments_in_blocks(affinities, KNOBS, 8, keep_links=False).fragments
    assert cut.max() > whole.max()


def test_a_missing_halo_is_refused(drawn):
    with pytest.raises(GeometryError, match="halo of 1"):
        drawn.fragments_in_blocks(rough(0, (8, 8, 8), 0.5), KNOBS, 4, halo=0)
