"""Downsampling: means and modes by hand, against numpy, and which axes go first."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from connectomics.errors import GeometryError
from connectomics.io.downsampling import downsample, next_factor


def test_the_mode_ties_to_the_smaller_id():
    #   7 7 | 3 3 | 5 0
    #   7 2 | 9 9 | 0 5
    drawn = np.array([[[7, 7, 3, 3, 5, 0], [7, 2, 9, 9, 0, 5]]], np.uint64)
    assert downsample(drawn, (1, 2, 2), "label").tolist() == [[[7, 3, 0]]]
    assert downsample(drawn[..., ::-1], (1, 2, 2), "label").tolist() == [[[0, 3, 7]]]


def test_the_mean_rounds_half_up_and_odd_ends_average_what_is_there():
    drawn = np.array([[[1, 2, 250], [1, 2, 251]]], np.uint8)
    assert downsample(drawn, (1, 2, 2), "image").tolist() == [[[2, 251]]]
    assert downsample(drawn.astype("f4"), (1, 2, 2), "image").tolist() == [[[1.5, 250.5]]]
    assert downsample(np.array([[[-3, -2]]], np.int16), (1, 1, 2), "image").tolist() == [[[-2]]]


def slow_mode(array, factor):
    out = np.empty([-(-n // f) for n, f in zip(array.shape, factor, strict=True)], array.dtype)
    for index in np.ndindex(*out.shape):
        block = array[tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factor, strict=True))]
        votes = Counter(block.ravel().tolist())
        out[index] = min(votes, key=lambda value: (-votes[value], value))
    return out


shapes = st.tuples(*[st.integers(1, 5)] * 3)
factors = st.tuples(*[st.sampled_from([1, 2])] * 3)


@given(arrays(np.uint64, shapes, elements=st.sampled_from([0, 1, 2, 2**53 + 1, 2**64 - 1])), factors)
@settings(deadline=None, max_examples=60)
def test_mode_against_counting(array, factor):
    assert (downsample(array, factor, "label") == slow_mode(array, factor)).all()


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "u8", "f2", "f4", "f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_mean_over_types_and_orders(dtype, order):
    array = np.array(np.random.default_rng(0).integers(0, 100, (2, 4, 6, 8)).astype(dtype), order=order)
    mean = array.astype(float).reshape(2, 2, 2, 3, 2, 4, 2).mean((2, 4, 6))
    expected = mean if array.dtype.kind == "f" else np.floor(mean + 0.5)
    result = downsample(array, (2, 2, 2), "image")
    assert result.dtype == array.dtype.newbyteorder("=")
    assert np.allclose(result.astype(float), expected, rtol=1e-3)
    assert array.shape == (2, 4, 6, 8)


def test_only_halving():
    with pytest.raises(GeometryError, match="factor"):
        downsample(np.zeros((4, 4, 4)), (1, 3, 1), "image")


@pytest.mark.parametrize(
    ("size", "shape", "factor"),
    [
        ((33, 33, 33), (9, 9, 9), (2, 2, 2)),
        ((40, 4, 4), (9, 9, 9), (1, 2, 2)),
        ((40, 32, 32), (9, 9, 9), (2, 2, 2)),
        ((30, 8, 8), (9, 9, 9), (1, 2, 2)),
        ((4, 40, 4), (9, 9, 9), (2, 1, 2)),
        ((33, 33, 33), (1, 9, 9), (1, 2, 2)),
        ((400, 4, 4), (1, 9, 9), (1, 2, 2)),
        ((40, 4, 4), (9, 1, 1), (2, 1, 1)),
        ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    ],
)
def test_the_finest_axes_go_first(size, shape, factor):
    assert next_factor(size, shape) == factor
