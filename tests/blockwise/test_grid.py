"""Blocks tile a region exactly, and chunks fit blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectomics.blockwise.grid import Grid, chunk_for_block, grow, inside
from connectomics.errors import InputError

SMALL = st.tuples(*[st.integers(1, 9)] * 3)


@given(SMALL, SMALL, st.tuples(*[st.integers(0, 8)] * 3))
def test_blocks_cover_every_voxel_once(shape, block, start):
    seen = np.zeros(shape, int)
    grid = Grid(shape, block, tuple(o % b for o, b in zip(start, block, strict=True)))
    for number, one in enumerate(grid):
        assert one.number == number
        assert grid.containing(one.corner) == number
        seen[one.box] += 1
    assert (seen == 1).all()


@given(SMALL, SMALL, st.integers(0, 5))
def test_grown_box_holds_the_block_at_inside(shape, block, halo):
    values = np.arange(np.prod(shape)).reshape(shape)
    for one in Grid(shape, block):
        outer = grow(one.box, (halo,) * 3, (halo,) * 3, shape)
        np.testing.assert_array_equal(values[outer][inside(one.box, outer)], values[one.box])


def test_chunks_divide_blocks():
    assert chunk_for_block((64, 96, 128), (500, 500, 500)) == (64, 32, 64)


def test_a_block_over_the_whole_axis_fits_whatever_its_edge():
    assert chunk_for_block((50, 50, 50), (50, 40, 30)) == (50, 40, 30)


def test_a_block_of_broken_chunks_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="64 96 96"):
        chunk_for_block((70, 100, 90), (500, 500, 500))
