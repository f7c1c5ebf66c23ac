"""Boxes in the world: what they share, how they snap to voxels, and which slices they are."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectomics.errors import GeometryError
from connectomics.roi import Roi, Triple, int_triple, on_grid, triple

COORDINATES = st.tuples(*[st.integers(-50, 50).map(float)] * 3)
SIZES = st.tuples(*[st.integers(0, 60).map(float)] * 3)
ROIS = st.builds(Roi, COORDINATES, SIZES)
VOXEL_SIZES = st.tuples(*[st.sampled_from([0.5, 1.0, 4.0, 8.0, 33.0])] * 3)


def test_corners() -> None:
    roi = Roi((10, 0, -5), (1, 2, 3))
    assert roi.end == (11.0, 2.0, -2.0)
    assert Roi.from_corners(roi.offset, roi.end) == roi
    assert not roi.empty
    assert Roi.from_corners((5, 5, 5), (9, 4, 9)) == Roi((5, 5, 5), (4, 0, 4))
    assert Roi((0, 0, 0), (4, 0, 4)).empty


def test_grow_and_shrink() -> None:
    roi = Roi((10, 10, 10), (4, 4, 4))
    assert roi.grow((1, 2, 0)) == Roi((9, 8, 10), (6, 8, 4))
    assert roi.grow((1, 2, 0)).grow((-1, -2, 0)) == roi
    assert roi.grow((-3, 0, 0)).empty


@pytest.mark.parametrize("values", [(1, 2), (1, 2, 3, 4), (1, 2, math.nan), (1, math.inf, 3)])
def test_three_finite_numbers_are_asked_for(values: Any) -> None:
    with pytest.raises(GeometryError, match="size: expected three finite"):
        triple(values, "size")
    with pytest.raises(GeometryError):
        Roi(values, (1, 1, 1))


def test_whole_numbers_are_asked_for() -> None:
    assert int_triple((1.0, 2, 3)) == (1, 2, 3)
    with pytest.raises(GeometryError, match="shape: expected three integers"):
        int_triple((1.5, 2, 3), "shape")
    with pytest.raises(GeometryError, match="negative"):
        Roi((0, 0, 0), (1, -1, 1))


@given(ROIS, ROIS)
def test_the_common_box_lies_in_both(one: Roi, other: Roi) -> None:
    common = one.intersect(other)
    assert common.size == other.intersect(one).size
    if not common.empty:
        assert one.contains(common) and other.contains(common)
    assert one.intersect(one) == one


@given(ROIS, ROIS)
def test_the_common_box_holds_what_both_hold(one: Roi, other: Roi) -> None:
    def covers(roi: Roi) -> np.ndarray:
        axes = [np.arange(-50, 110) + 0.5 for _ in range(3)]
        return np.array([(a > o) & (a < e) for a, o, e in zip(axes, roi.offset, roi.end, strict=True)])

    expected = covers(one) & covers(other)
    found = covers(one.intersect(other))
    np.testing.assert_array_equal(found, expected)


@given(ROIS, VOXEL_SIZES, COORDINATES)
def test_snapping_gives_the_smallest_box_of_whole_voxels(roi: Roi, size: Triple, origin: Triple) -> None:
    snapped = roi.snap(size, origin)
    assert snapped.grow([1e-3 * s for s in size]).contains(roi)
    on_grid(snapped.offset, size, origin, "offset")
    on_grid(snapped.end, size, origin, "end")
    assert all(0 <= a - b < v for a, b, v in zip(roi.offset, snapped.offset, size, strict=True))
    assert all(0 <= b - a < v for a, b, v in zip(roi.end, snapped.end, size, strict=True))
    assert snapped.snap(size, origin) == snapped


def test_snapping_forgives_rounding_but_not_half_a_voxel() -> None:
    assert Roi((33.0000001,) * 3, (65.9999998,) * 3).snap((33,) * 3) == Roi((33,) * 3, (66,) * 3)
    assert Roi((49.5,) * 3, (33,) * 3).snap((33,) * 3) == Roi((33,) * 3, (66,) * 3)


@given(
    st.tuples(*[st.integers(0, 9)] * 3),
    st.tuples(*[st.integers(0, 9)] * 3),
    VOXEL_SIZES,
    COORDINATES,
)
def test_slices_are_the_voxels(start: Any, count: Any, size: Triple, origin: Triple) -> None:
    roi = Roi(
        triple([o + v * a for o, v, a in zip(origin, size, start, strict=True)]),
        triple([v * n for v, n in zip(size, count, strict=True)]),
    )
    expected = tuple(slice(a, a + n) for a, n in zip(start, count, strict=True))
    assert roi.slices(size, origin) == expected


def test_a_box_off_the_grid_has_no_slices() -> None:
    size, origin = (10, 10, 10), (0, 0, 5)
    assert Roi((10, 0, 5.001), (10, 10, 10)).slices(size, origin)[0] == slice(1, 2)
    for roi in (Roi((10, 0, 10), (10, 10, 10)), Roi((10, 0, 5), (10, 10, 12))):
        with pytest.raises(GeometryError, match="not on the voxel grid"):
            roi.slices(size, origin)


def test_containing() -> None:
    roi = Roi((0, 0, 0), (10, 10, 10))
    assert roi.contains(roi)
    assert roi.contains(Roi((0, 0, 9), (10, 10, 1)))
    assert not roi.contains(Roi((0, 0, 9), (10, 10, 1.1)))
    assert not roi.contains(Roi((-0.1, 0, 0), (1, 1, 1)))
