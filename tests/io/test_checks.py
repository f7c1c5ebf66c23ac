"""Images that are not worth running on are found by looking at few voxels."""

import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.io.checks import check_image, sample_boxes
from connectomics.io.volume import Volume


def volume(array) -> Volume:
    return Volume(array, (1, 1, 1), (0, 0, 0), "drawn")


class Counting:
    """A huge array that is never held: constant but for one far place; counts what is read."""

    shape = (5000, 5000, 5000)
    dtype = np.dtype("u1")
    read = 0

    def __getitem__(self, key):
        block = np.zeros([s.stop - s.start for s in key], np.uint8)
        Counting.read += block.size
        if all(s.stop == 5000 for s in key):
            block[-1] = 1
        return block


def test_noise_passes_and_huge_volumes_are_sampled():
    check_image(volume(np.random.default_rng(0).integers(0, 9, (70, 8, 200), np.uint8)))
    check_image(volume(Counting()))
    assert Counting.read == 27 * 64**3


@pytest.mark.parametrize("value", [0, 7])
def test_constant_data_are_refused(value):
    with pytest.raises(InputError, match=f"every voxel looked at is {value}"):
        check_image(volume(np.full((70, 80, 90), value, np.uint8)))


def test_something_small_between_the_coarse_blocks_is_found_by_the_fine_ones():
    array = np.zeros((700, 64, 64), np.uint8)
    array[130:170] = 1
    coarse = [box[0] for box in sample_boxes(array.shape, 3)]
    assert not any(array[box].any() for box in coarse), "test invalid"
    check_image(volume(array))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_and_placed(bad):
    array = np.random.default_rng(0).random((70, 80, 90)).astype("f4")
    check_image(volume(array))
    array[69, 79, 89] = bad
    with pytest.raises(InputError, match=r"1 of the voxels \[6:70, 16:80, 26:90\].*NaN"):
        check_image(volume(array))


def test_sample_boxes_reach_both_ends_and_fit_small_volumes():
    assert list(sample_boxes((10, 10, 10), 3)) == [(slice(0, 10),) * 3]
    boxes = list(sample_boxes((200, 64, 65), 3))
    assert boxes[0] == (slice(0, 64), slice(0, 64), slice(0, 64))
    assert boxes[-1] == (slice(136, 200), slice(0, 64), slice(1, 65))


def test_a_part_without_an_image_is_warned_of_and_a_volume_refused(caplog):
    data = np.zeros((90, 80, 70), np.uint8)
    data[10:20] = 9
    part = (slice(40, 90), slice(0, 80), slice(0, 70))
    check_image(volume(data), part)
    assert "it holds no image" in caplog.text
    with pytest.raises(InputError, match="every voxel looked at is 0"):
        check_image(volume(np.zeros_like(data)), part)
