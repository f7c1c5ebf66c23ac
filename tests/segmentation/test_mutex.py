"""Mutex-watershed fragments: drawn lines, votes across faces, and how near blocks come to the whole."""

import numpy as np
import pytest

from connectomics.errors import GeometryError, InputError
from connectomics.evaluation.volumes import VoiTable
from connectomics.segmentation.mutex import mutex_fragments
from connectomics.segmentation.settings import SegmentationSettings

LINE = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, -3))
OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (-6, 0, 0), (0, -6, 0), (0, 0, -6))
KNOBS = SegmentationSettings(fragments="mutex")
EVERY = SegmentationSettings(fragments="mutex", mutex_strides=(1, 1, 1))


def line(near, repelled=()):
    affinities = np.zeros((4, 1, 1, len(near)), np.uint8)
    affinities[2, 0, 0] = near
    affinities[3] = 255
    affinities[3, 0, 0, list(repelled)] = 0
    return affinities


def whole_line(affinities, settings=EVERY):
    box = tuple(slice(0, n) for n in affinities.shape[1:])
    return mutex_fragments(affinities, LINE, box, (0, 0, 0), affinities.shape[1:], settings)


NEAR = [255, 250, 250, 250, 140, 250, 250, 0, 250, 250]


def test_a_line_is_cut_where_long_range_repels_and_where_nothing_is_inside():
    made = whole_line(line(NEAR, repelled=[5]))
    # voxel 0 has no partner at all, so nothing says that it is inside
    assert made.labels.ravel().tolist() == [0, 1, 1, 1, 2, 2, 2, 0, 3, 3]
    assert made.keys.tolist() == [2, 5, 9]
    assert made.sizes.tolist() == [3, 3, 2]
    assert made.votes and not len(made.link_labels)


def test_without_repulsion_the_weak_place_is_crossed():
    assert whole_line(line(NEAR)).labels.ravel().tolist() == [0] + [1] * 6 + [0, 2, 2]


def test_votes_name_the_voxels_just_outside():
    affinities = line([255] * 60)
    box = (slice(0, 1), slice(0, 1), slice(16, 36))
    made = mutex_fragments(affinities[..., 4:56], LINE, box, (0, 0, 4), (1, 1, 60), KNOBS)
    assert made.labels.ravel().tolist() == [1] * 20
    assert made.keys.tolist() == [21]
    assert made.link_labels.tolist() == [1, 1]
    assert made.link_voxels.tolist() == [[0, 0, 19], [0, 0, 40]]


def test_strides_lie_on_the_lattice_of_the_whole_volume():
    sparse = SegmentationSettings(fragments="mutex", mutex_strides=(1, 1, 4))
    near = [255] * 60
    near[30] = 140

    def cut(voxel):
        affinities = line(near, repelled=[voxel])
        box = (slice(0, 1), slice(0, 1), slice(17, 37))
        made = mutex_fragments(affinities[..., 3:57], LINE, box, (0, 0, 3), (1, 1, 60), sparse)
        return len(made.keys)

    assert [voxel for voxel in (30, 31, 32) if cut(voxel) == 2] == [
        32
    ]  # of these, 32 alone is on the lattice


def test_nothing_inside_gives_no_fragments():
    made = whole_line(line([0] * 10))
    assert not made.labels.any() and not len(made.keys) and made.link_voxels.shape == (0, 3)


def test_nearest_neighbours_alone_are_refused():
    box = (slice(0, 1), slice(0, 1), slice(0, 10))
    with pytest.raises(InputError, match="long range"):
        mutex_fragments(line(NEAR)[:3], LINE[:3], box, (0, 0, 0), (1, 1, 10), KNOBS)


def test_a_small_halo_is_refused():
    box = (slice(0, 1), slice(0, 1), slice(4, 30))
    with pytest.raises(GeometryError, match="halo of 16"):
        mutex_fragments(line([255] * 40), LINE, box, (0, 0, 4), (1, 1, 60), KNOBS)


@pytest.fixture(scope="module")
def volume(drawn):
    labels, _ = drawn.tubes_and_cells((72, 72, 80))
    return drawn.noisy_affinities(drawn.eroded(labels), 1.0, np.random.default_rng(0), OFFSETS)


def voi(segmentation, truth):
    table = VoiTable()
    table.add(segmentation, truth)
    return table.scores()["voi_sum"]


@pytest.mark.parametrize("block", [40, 48])
def test_voted_links_bring_blocks_near_the_whole(volume, drawn, block):
    """Not exact in general; on this mild volume nearly so, and far from it without the links."""
    one = drawn.fragments_in_blocks(volume, KNOBS, 80, offsets=OFFSETS)
    blocks = drawn.fragments_in_blocks(volume, KNOBS, block, offsets=OFFSETS)
    cut = drawn.fragments_in_blocks(volume, KNOBS, block, offsets=OFFSETS, keep_links=False)
    assert one.fragments.max() > 100
    assert voi(blocks.fragments, one.fragments) < 0.02
    assert voi(cut.fragments, one.fragments) > 0.3
