"""Tiles cover each voxel once, whatever the box; volumes smaller than a tile work."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectomics.errors import GeometryError
from connectomics.inference.tiles import TileLattice, axis_spans, common_part

edge = st.integers(1, 70)


@given(
    st.tuples(edge, edge, edge),
    st.integers(1, 4),
    st.integers(0, 20),
    st.sampled_from([1, 4, 16]),
    st.booleans(),
)
def test_cores_partition_the_volume_and_inputs_fit_the_network(shape, cores, margin, divisor, uniform):
    lattice = TileLattice(shape, (cores * divisor * 3,) * 3, (margin,) * 3, (divisor,) * 3, uniform)
    count = np.zeros(shape, int)
    for tile in lattice.tiles():
        count[tile.core] += 1
        assert all(n % divisor == 0 for n in tile.shape)
        assert all(
            s.start % divisor == 0 and 0 <= s.start < s.stop <= n
            for s, n in zip(tile.source, shape, strict=True)
        )
        for core, source, n in zip(tile.core, tile.source, shape, strict=True):
            assert source.start == 0 or core.start - source.start >= margin
            assert source.stop == n or source.stop - core.stop >= margin
        assert np.prod(tile.shape) <= lattice.largest
        assert tile.prepare(np.zeros([s.stop - s.start for s in tile.source])).shape == tile.shape
    assert (count == 1).all()
    assert not uniform or len({tile.shape for tile in lattice.tiles()}) == 1


def test_a_box_takes_only_the_tiles_that_meet_it():
    lattice = TileLattice((64, 64, 64), (32, 32, 32), (8, 8, 8), (8, 8, 8))
    assert len(list(lattice.tiles((slice(0, 32), slice(32, 64), slice(0, 32))))) == 1
    assert len(list(lattice.tiles((slice(0, 33), slice(0, 32), slice(31, 33))))) == 4


def test_common_part():
    core, box = (slice(32, 64),) * 3, (slice(40, 80),) * 3
    assert common_part(core, box) == ((slice(8, 32),) * 3, (slice(0, 24),) * 3)


def test_even_cores_of_a_small_volume():
    assert [s.stop - s.start for s in axis_spans(250, 128, 16, 16)] == [144, 144]


@pytest.mark.parametrize("box", [(0, 65), (-1, 3), (5, 5)])
def test_a_box_outside_is_refused(box):
    lattice = TileLattice((64, 64, 64), (32, 32, 32), (8, 8, 8), (8, 8, 8))
    with pytest.raises(GeometryError, match="outside"):
        list(lattice.tiles((slice(*box), slice(0, 2), slice(0, 2))))


def test_cores_off_the_divisor_are_refused():
    with pytest.raises(GeometryError, match="multiples"):
        TileLattice((64, 64, 64), (30, 32, 32), (8, 8, 8), (8, 8, 8))
