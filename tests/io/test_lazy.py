"""A lazy array reads what numpy would give, and no more of it than was asked for."""

import numpy as np
import pytest

from connectomics.errors import FormatError
from connectomics.io.lazy import LazyArray, ReadMemory, affinity_colours
from connectomics.io.volume import Volume

SHAPE = (6, 7, 8)


class Spy:
    """An array that remembers what was read of it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

    def __getitem__(self, key):
        self.read.append(key)
        return self.array[key]


@pytest.fixture
def numbers():
    return np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)


def volume(array):
    return Volume(array, (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), "numbers")


def lazy(array, **how):
    return LazyArray(volume(array), memory=ReadMemory(), **how)


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        np.int64(2),
        (2, 3, 4),
        (slice(None), 3),
        (Ellipsis, 5),
        (slice(1, 5), slice(None), 2),
        (4, slice(None, None, 2), slice(6, 1, -2)),
        ([0, 5, 2], 1, 1),
        (1, np.array([True, False, True, False, True, False, True])),
        (slice(5, 2), 1),
    ],
)
def test_indexing_is_that_of_numpy(numbers, key):
    np.testing.assert_array_equal(lazy(numbers)[key], numbers[key])


def test_slices_read_nothing_until_they_are_asked_for(numbers):
    spy = Spy(numbers)
    part = lazy(spy)[1:5, 2:, ...][1:, :, 3:6]
    assert part.shape == (3, 5, 3) and spy.read == []
    np.testing.assert_array_equal(np.asarray(part), numbers[2:5, 2:, 3:6])
    np.testing.assert_array_equal(part[1], numbers[3, 2:, 3:6])
    assert spy.read == [
        (slice(2, 5), slice(2, 7), slice(3, 6)),
        (slice(3, 4), slice(2, 7), slice(3, 6)),
    ]


def test_too_many_or_outlying_indices_are_refused(numbers):
    for key in ((0, 0, 0, 0), 6, (0, -8)):
        with pytest.raises(IndexError):
            lazy(numbers)[key]


def test_what_was_read_last_is_kept_and_forgotten_when_told(numbers):
    spy = Spy(numbers)
    array = lazy(spy)
    array[2], array[2]
    assert len(spy.read) == 1
    array.forget()
    array[2]
    assert len(spy.read) == 2


def test_the_memory_lets_go_of_what_was_not_used_for_longest(numbers):
    plane = numbers[0].nbytes
    spy = Spy(numbers)
    array = LazyArray(volume(spy), memory=ReadMemory(2 * plane))
    for z in (0, 1, 0, 2):  # 1 must go
        array[z]
    assert len(spy.read) == 3
    array[0]
    assert len(spy.read) == 3
    array[1]
    assert len(spy.read) == 4


def test_a_change_is_made_anew_at_every_reading(numbers):
    offset = [0]
    spy = Spy(numbers)
    array = lazy(spy, change=lambda data, corner: data + offset[0] + corner[0], dtype=np.uint64)
    np.testing.assert_array_equal(array[2], numbers[2] + 2)
    offset[0] = 10
    np.testing.assert_array_equal(array[2], numbers[2] + 12)
    assert array.dtype == np.uint64 and array[2].dtype == np.uint64 and len(spy.read) == 1


def test_a_channel_and_a_picture():
    channels = np.arange(4 * 2 * 3 * 5, dtype=np.uint8).reshape(4, 2, 3, 5)
    np.testing.assert_array_equal(lazy(channels, channel=2)[1], channels[2, 1])
    picture = lazy(channels, rgb=True)
    assert picture.shape == (2, 3, 5, 3)
    np.testing.assert_array_equal(picture[1, :, :, 0], channels[0, 1])
    np.testing.assert_array_equal(picture[0, 1:, 2:, 1:], np.moveaxis(channels[1:3, 0, 1:, 2:], 0, -1))


def test_affinities_of_a_float_type_and_of_two_channels():
    colours = affinity_colours(np.array([0.0, 0.5], np.float32).reshape(2, 1, 1, 1))
    assert colours.tolist() == [[[[0, 128, 0]]]]


def test_what_cannot_be_read_is_empty_and_said_once(numbers):
    class Broken(Spy):
        def __getitem__(self, key):
            raise FormatError("the file is corrupt there.")

    array = lazy(Broken(numbers))
    with pytest.warns(UserWarning, match="corrupt") as told:
        assert not array[0].any() and not array[0].any()
    assert len(told) == 1


def test_too_much_at_once_is_not_read(numbers, monkeypatch):
    monkeypatch.setattr("connectomics.io.lazy.LARGEST_READ", numbers.nbytes - 1)
    spy = Spy(numbers)
    with pytest.warns(UserWarning, match="connectomics convert"):
        assert not np.asarray(lazy(spy)).any()
    assert spy.read == []
