"""What each library does with our affinities on a drawn line; a wrong convention must give another result."""

import numpy as np
import pytest
import waterz
from bioimage_cpp.segmentation import mutex_watershed

from connectomics.segmentation.conventions import mutex_affinities, waterz_affinities

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, -3))


def line(near, far=None):
    """A line of voxels along x: our affinities to the voxel before, and to the third before."""
    affinities = np.zeros((4, 1, 1, len(near)), np.uint8)
    affinities[2, 0, 0] = near
    affinities[3, 0, 0] = 255 if far is None else far
    return affinities


#              0    1    2    3    4   5    6    7
NEAR = [0, 250, 250, 250, 40, 250, 250, 250]
FAR = [0, 0, 0, 255, 255, 0, 255, 255]  # 5 and 2 are not one object


def test_bioimage_cpp_repels_where_our_long_range_affinity_is_low():
    cut = mutex_watershed(mutex_affinities(line(NEAR, FAR)), OFFSETS, 3)
    assert cut.ravel().tolist() == [1, 1, 1, 1, 2, 2, 2, 2]  # the weakest place between 2 and 5
    joined = mutex_watershed(mutex_affinities(line(NEAR)), OFFSETS, 3)
    assert joined.ravel().tolist() == [1] * 8


def test_bioimage_cpp_unconverted_would_turn_long_range_affinities_round():
    raw = (line(NEAR, FAR) / 255).astype(np.float32)
    assert mutex_watershed(raw, OFFSETS, 3).ravel().tolist() != [1, 1, 1, 1, 2, 2, 2, 2]


def test_mutex_affinities_leave_the_input_alone():
    affinities = line(NEAR, FAR)
    before = affinities.copy()
    converted = mutex_affinities(affinities)
    np.testing.assert_array_equal(affinities, before)
    assert converted.dtype == np.float32 and converted.min() >= 0 and converted.max() <= 1
    assert converted[3, 0, 0, 5] == 1 and converted[3, 0, 0, 4] == 0


def waterz_line(affinities, threshold):
    """Segments of waterz, with each voxel of the line a fragment."""
    fragments = np.arange(1, affinities.shape[-1] + 1, dtype=np.uint64).reshape(affinities.shape[1:])
    return next(iter(waterz.agglomerate(affinities, [threshold], fragments=fragments))).ravel().copy()


@pytest.mark.parametrize("weak", [1, 3, 5])
def test_waterz_reads_the_value_at_v_for_v_and_the_voxel_before(weak):
    near = [0] + 5 * [250]
    near[weak] = 10
    segments = waterz_line(waterz_affinities(line(near)), 0.5)
    same = (segments[1:] == segments[:-1]).tolist()
    assert same == [k != weak for k in range(1, 6)]


def test_waterz_affinities_are_three_contiguous_channels():
    converted = waterz_affinities(line(NEAR, FAR))
    assert converted.shape == (3, 1, 1, 8) and converted.dtype == np.float32
    assert converted.flags.c_contiguous and converted.max() <= 1
