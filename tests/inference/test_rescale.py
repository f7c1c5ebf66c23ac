"""A rescaled view is the same whatever blocks it is read by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectomics.errors import GeometryError
from connectomics.inference.rescale import axis_weights, read_rescaled
from connectomics.io.volume import Volume


def ramp(shape=(12, 13, 14), dtype=np.float32):
    z, y, x = np.indices(shape)
    return Volume((z + 10.0 * y + 0.5 * x).astype(dtype), (10, 10, 10), (5, 0, 0), "ramp")


@given(st.floats(0.3, 4.0), st.integers(1, 40))
def test_weights_are_a_mean_inside_the_volume(factor, size):
    outputs = max(1, int(size / factor + 1e-6))
    span, weights = axis_weights(slice(0, outputs), factor, size)
    assert 0 <= span.start < span.stop <= size
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5) and (weights >= 0).all()


@pytest.mark.parametrize("size", [(20, 20, 20), (7, 10, 13), (5, 5, 5), (100, 200, 300)])
def test_blocks_agree_and_a_ramp_stays_a_ramp(size):
    volume = ramp()
    view = read_rescaled(volume, size)
    full = view.read()
    assert full.shape == view.shape
    for start in (0, 3):
        box = tuple(slice(min(start, n - 1), n) for n in view.shape)
        assert np.allclose(view.read_box(box), full[box], atol=1e-5)
    if max(size) <= 20:
        factor = size[1] / 10
        inner = full[0, 1:-1, 0]
        assert np.allclose(np.diff(inner), 10 * factor, atol=1e-3)


def test_integers_stay_integers_and_nothing_changes_at_factor_one():
    volume = ramp(dtype=np.uint8)
    view = read_rescaled(volume, (10, 10, 10))
    assert view.dtype == np.uint8 and view.offset == volume.offset
    assert (view.read() == volume.read()).all()
    assert (read_rescaled(volume, (20, 20, 20)).read() != 0).any()


def test_a_bad_voxel_size_is_refused():
    with pytest.raises(GeometryError, match="positive"):
        read_rescaled(ramp(), (10, 0, 10))


@pytest.mark.parametrize("size", [(33, 33, 33), (3.3, 3.3, 3.3), (7, 11, 13), (10.4, 25, 40)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_integers_do_not_depend_on_the_block_by_which_they_are_read(size, dtype):
    random = np.random.default_rng(0)
    highest = 255 if dtype == np.uint8 else 30000
    volume = Volume(random.integers(0, highest, (37, 41, 43)).astype(dtype), (10, 10, 10), (0, 0, 0), "noise")
    view = read_rescaled(volume, size)
    whole = view.read()
    for _ in range(20):
        low = [int(random.integers(n)) for n in view.shape]
        high = [int(random.integers(a + 1, n + 1)) for a, n in zip(low, view.shape, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        np.testing.assert_array_equal(view.read_box(box), whole[box])
