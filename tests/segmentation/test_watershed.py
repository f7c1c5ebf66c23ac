"""Watershed fragments: what they are on drawn lines, and the same whatever the blocks."""

import numpy as np
import pytest

from connectomics.errors import GeometryError, InputError
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.watershed import watershed_fragments, watershed_halo

SHAPE = (100, 96, 110)


def line(values, **settings):
    """Fragments of a line of voxels along x, given its x affinities."""
    affinities = np.zeros((3, 1, 1, len(values)), np.uint8)
    affinities[2, 0, 0] = values
    box = (slice(0, 1), slice(0, 1), slice(0, len(values)))
    knobs = SegmentationSettings(**{"smoothing": 0, "jump": 0, "grow": 0, **settings})
    return watershed_fragments(affinities, box, (0, 0, 0), (1, 1, len(values)), knobs)


WEAK_IN_THE_MIDDLE = [0, 255, 255, 255, 255, 10, 10, 255, 255, 255, 255, 255]


def test_two_cells_on_a_line_with_background_between():
    made = line(WEAK_IN_THE_MIDDLE)
    # voxel 0 has no partner at all, so nothing says that it is inside
    assert made.labels.ravel().tolist() == [0, 1, 1, 1, 1, 0, 0, 2, 2, 2, 2, 2]
    assert made.sizes.tolist() == [4, 5]
    assert not len(made.link_labels) and not made.votes


def test_fragments_grow_into_the_boundary_no_farther_than_asked():
    wide = [0, 255, 255, 255, 0, 0, 0, 0, 0, 255, 255, 255]
    assert line(wide, grow=1).labels.ravel().tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 2, 2, 2, 2]
    assert 0 not in line(wide, grow=8).labels


def test_two_peaks_of_one_cell_are_joined_by_a_jump_only():
    #  a dumbbell: two bellies of radius 5 and a waist of radius 2, in a plane
    inside = np.zeros((1, 15, 41), bool)
    y, x = np.mgrid[:15, :41]
    for centre in (8, 26):
        inside[0] |= (y - 7) ** 2 + (x - centre) ** 2 <= 25
    inside[0] |= (abs(y - 7) <= 2) & (abs(x - 17) <= 9)
    affinities = np.repeat(255 * inside[None].astype(np.uint8), 3, axis=0)
    box = tuple(slice(0, n) for n in inside.shape)

    def count(jump):
        knobs = SegmentationSettings(smoothing=0, jump=jump, grow=0)
        return len(watershed_fragments(affinities, box, (0, 0, 0), inside.shape, knobs).keys)

    assert count(1) >= 2
    assert count(4) == 1


@pytest.fixture(scope="module")
def volume(drawn):
    """Affinities of large cells (plateaus, long ways) and long tubes of changing width."""
    return drawn.tubes_and_cells(SHAPE, noise=1.0)[1]


KNOBS = [
    {"max_distance": 6, "jump": 0.5},  # plateaus in the cells: hundreds of paths leave every block
    {"max_distance": 6, "jump": 1.0, "smoothing": 0, "grow": 0},
    {"max_distance": 9, "jump": 0.0, "smoothing": 2, "grow": 9},
    {"max_distance": 12},
]


@pytest.mark.parametrize("knobs", KNOBS)
def test_blocks_give_exactly_the_fragments_of_the_whole(volume, drawn, knobs):
    settings = SegmentationSettings(**knobs)
    whole = drawn.fragments_in_blocks(volume, settings, 200)
    assert whole.fragments.max() > 200 and not len(whole.links)
    links = 0
    for block in (64, 96, (37, 53, 41)):
        blocks = drawn.fragments_in_blocks(volume, settings, block)
        np.testing.assert_array_equal(blocks.fragments, whole.fragments)
        links += len(blocks.links)
    assert links > 100, "test invalid: hardly any path leaves its block"


@pytest.mark.parametrize("extra", [1, 9])
def test_a_larger_halo_leaves_fewer_links_and_the_same_fragments(volume, drawn, extra):
    settings = SegmentationSettings(max_distance=6, jump=0.5)
    needed = drawn.fragments_in_blocks(volume, settings, 48)
    larger = drawn.fragments_in_blocks(volume, settings, 48, halo=watershed_halo(settings) + extra)
    np.testing.assert_array_equal(larger.fragments, needed.fragments)
    assert 0 < len(larger.links) < len(needed.links)


def test_without_links_the_fragments_have_no_name(volume, drawn):
    settings = SegmentationSettings(max_distance=6, jump=0.5)
    with pytest.raises(InputError, match="links are missing"):
        drawn.fragments_in_blocks(volume, settings, 64, keep_links=False)


def test_a_halo_one_voxel_too_small_is_refused(volume, drawn):
    settings = SegmentationSettings(max_distance=6)
    with pytest.raises(GeometryError, match="halo"):
        drawn.fragments_in_blocks(volume, settings, 64, halo=watershed_halo(settings) - 1)


def test_an_affinity_below_the_volumes_face_says_nothing(drawn):
    """The channel that would look out of the volume is left out, whatever stands there."""
    settings = SegmentationSettings(max_distance=4)
    affinities = np.full((3, 12, 12, 12), 255, np.uint8)
    other = affinities.copy()
    for axis in range(3):
        np.moveaxis(other[axis], axis, 0)[0] = 0
    first, second = (drawn.fragments_in_blocks(a, settings, 12).fragments for a in (affinities, other))
    np.testing.assert_array_equal(first, second)
    assert (first > 0).all()


def test_nothing_inside_gives_no_fragments(drawn):
    blocks = drawn.fragments_in_blocks(np.zeros((3, 20, 20, 20), np.uint8), SegmentationSettings(), 16)
    assert not blocks.fragments.any() and not len(blocks.table)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_other_dtypes_are_refused(dtype):
    box = (slice(0, 4),) * 3
    with pytest.raises(GeometryError, match="uint8"):
        watershed_fragments(np.zeros((3, 4, 4, 4), dtype), box, (0, 0, 0), (4, 4, 4), SegmentationSettings())
