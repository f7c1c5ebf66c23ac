"""Affinity offsets: which voxels they pair, checked against np.roll and drawn lines."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from connectomics.affinities import (
    NEAREST,
    affinities_from_labels,
    clear_outside,
    pair_slices,
    parse_offsets,
    shifted,
)
from connectomics.errors import ConnectomicsError

OFFSETS = st.tuples(*[st.integers(-4, 4)] * 3)
SHAPES = st.tuples(*[st.integers(1, 6)] * 3)


@given(SHAPES, OFFSETS)
def test_pairs_are_those_of_a_roll_that_does_not_wrap(shape: Any, offset: Any) -> None:
    values = np.arange(np.prod(shape)).reshape(shape)
    partners = np.roll(values, [-o for o in offset], axis=(0, 1, 2))  # partners[v] = values[v + offset]
    inside = np.ones(shape, bool)
    for axis, o in enumerate(offset):
        index = np.arange(shape[axis]) + o
        keep = (index >= 0) & (index < shape[axis])
        inside &= keep.reshape([-1 if a == axis else 1 for a in range(3)])
    here, there = shifted(values, offset)
    np.testing.assert_array_equal(here.ravel(), values[inside])
    np.testing.assert_array_equal(there.ravel(), partners[inside])


@pytest.mark.parametrize("order", ["C", "F"])
def test_views_share_memory_and_leading_axes_stay(order: Any) -> None:
    values = np.asarray(np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5), order=order)
    here, there = shifted(values, (-1, 0, -2))
    assert here.shape == there.shape == (2, 2, 4, 3)
    assert np.shares_memory(here, values) and np.shares_memory(there, values)


def test_tensors_are_paired_like_arrays() -> None:
    values = np.arange(24).reshape(2, 3, 4)
    here, there = shifted(torch.from_numpy(values), (0, -2, 1))
    expected = shifted(values, (0, -2, 1))
    np.testing.assert_array_equal(here.numpy(), expected[0])
    np.testing.assert_array_equal(there.numpy(), expected[1])


def test_an_offset_longer_than_the_array_pairs_nothing() -> None:
    here, there = shifted(np.arange(3), (-5,))
    assert here.size == there.size == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_affinities_of_a_drawn_line(dtype: Any) -> None:
    #                    0  1  2  3  4  5  6
    labels = np.array([1, 1, 1, 0, 0, 2, 1], dtype)[None, None]
    before = labels.copy()
    affinities, inside = affinities_from_labels(labels, [(0, 0, -1), (0, 0, -2), (0, -1, 0), (0, 0, 1)])
    assert affinities.dtype == np.uint8 and inside.dtype == bool
    np.testing.assert_array_equal(affinities[0, 0, 0], [0, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(inside[0, 0, 0], [0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(affinities[1, 0, 0], [0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(inside[1, 0, 0], [0, 0, 1, 1, 1, 1, 1])
    assert not inside[2].any() and not affinities[2].any()
    np.testing.assert_array_equal(affinities[3, 0, 0], [1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(labels, before)


def test_affinities_do_not_depend_on_which_number_a_label_is() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (5, 6, 7))
    renamed = np.array([0, 30, 10, 20])[labels]
    one, other = (affinities_from_labels(each, NEAREST)[0] for each in (labels, renamed))
    np.testing.assert_array_equal(one, other)
    merged = np.array([0, 1, 1, 2])[labels]
    assert (affinities_from_labels(merged, NEAREST)[0] != one).any(), "test invalid"


def test_offsets_are_parsed() -> None:
    assert parse_offsets([[-1, 0, 0], [0, -1, 0], [0, 0, -1], [0, -9.0, -3]])[3] == (0, -9, -3)


@pytest.mark.parametrize(
    "offsets",
    [
        [],
        [(0, -1, 0), (-1, 0, 0), (0, 0, -1)],
        [*NEAREST, (0, 0, 0)],
        [*NEAREST, (0, 3, 0)],
        [*NEAREST, (-3, 3, 0)],
        [*NEAREST, (0, -1)],
        [*NEAREST, (0, -1.5, 0)],
    ],
)
def test_offsets_that_make_no_sense_are_refused(offsets: Any) -> None:
    with pytest.raises(ConnectomicsError, match="offset"):
        parse_offsets(offsets)


def test_slices_of_a_line() -> None:
    assert pair_slices((-2,)) == ((slice(2, None),), (slice(0, -2),))
    assert pair_slices((2,)) == ((slice(0, -2),), (slice(2, None),))
    assert pair_slices((0,)) == ((slice(0, None),), (slice(0, None),))


@given(st.tuples(*[st.integers(0, 5)] * 3), SHAPES, st.tuples(*[st.integers(-4, 0)] * 3))
def test_what_has_no_partner_in_the_volume_is_cleared(low: Any, shape: Any, offset: Any) -> None:
    block = np.full((2, *shape), 7, np.uint8)
    clear_outside(block, [offset], [slice(a, a + n) for a, n in zip(low, shape, strict=True)])
    places = np.indices(shape) + np.reshape(low, (3, 1, 1, 1)) + np.reshape(offset, (3, 1, 1, 1))
    np.testing.assert_array_equal(block[0], np.where((places < 0).any(axis=0), 0, 7))
    assert (block[1] == 7).all()
