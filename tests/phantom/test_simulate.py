"""Simulated X-rays: a function of volume, settings and place alone, dark where the EM is dark."""

import numpy as np
import pytest

from connectomics.errors import GeometryError, InputError, SettingsError
from connectomics.io.volume import Volume
from connectomics.phantom import simulate
from connectomics.phantom.simulate import SimulatedXray, XraySimulation


@pytest.fixture(scope="module")
def em():
    """Dark sheets in bright, noisy stuff: (60, 54, 41) voxels."""
    random = np.random.default_rng(0)
    z, y, x = np.indices((60, 54, 41))
    sheets = np.abs((z + 2 * y - x) % 24 - 12) < 3
    image = np.clip(170 - 100 * sheets + random.normal(0, 8, sheets.shape), 0, 255).astype(np.uint8)
    return Volume(image, (10, 10, 10), (50, 0, 20), "sheets")


def _whole(simulated):
    z, y, x = (slice(0, n) for n in simulated.shape)
    return simulated.xray((z, y, x))


def test_shape_and_place_follow_the_factor(em):
    simulated = SimulatedXray(em, XraySimulation(factor=(2, 3, 3)))
    assert simulated.shape == (30, 18, 13)
    assert simulated.voxel_size == (20, 30, 30)
    assert simulated.offset == (50, 0, 20)
    assert _whole(simulated).dtype == np.uint8


def test_a_box_alone_is_the_box_cut_from_the_whole(em, monkeypatch):
    simulated = SimulatedXray(em, XraySimulation(seed=4))
    whole = _whole(simulated)
    for z, y, x in [(0, 0, 0), (5, 7, 3), (12, 10, 8)]:
        box = slice(z, z + 8), slice(y, y + 8), slice(x, min(x + 8, 13))
        np.testing.assert_array_equal(simulated.xray(box), whole[box])
    monkeypatch.setattr(simulate, "_TILE", 5)
    np.testing.assert_array_equal(_whole(simulated), whole)


def test_seeds_differ_and_repeat(em):
    a, b, again = (_whole(SimulatedXray(em, XraySimulation(seed=seed))) for seed in (1, 2, 1))
    np.testing.assert_array_equal(a, again)
    assert (a != b).mean() > 0.5


def test_dark_stays_dark_and_detail_is_lost(em):
    xray = _whole(SimulatedXray(em, XraySimulation(seed=1, difficulty="easy"))).astype(float)
    coarse = em.array[:60, :54, :39].reshape(20, 3, 18, 3, 13, 3).mean((1, 3, 5))
    assert np.corrcoef(xray.ravel(), coarse.ravel())[0, 1] > 0.6
    lost = SimulatedXray(em, XraySimulation(seed=1, difficulty="easy", blur=1.5, fringe=0))
    assert _whole(lost).std() < xray.std()


def test_without_noise_what_is_left_is_a_blur(em):
    quiet = XraySimulation(
        factor=(1, 1, 1), blur=0.2, fringe=0, noise=0, streaks=0, rings=0, drift=0, dark=70, bright=170
    )
    xray = _whole(SimulatedXray(em, quiet)).astype(float)
    assert np.corrcoef(xray.ravel(), em.array.ravel())[0, 1] > 0.99


def test_grey_levels_are_those_given_or_sampled(em):
    assert SimulatedXray(em, XraySimulation(dark=60, bright=180)).levels == (60, 180)
    dark, bright = SimulatedXray(em).levels
    assert 55 < dark < 85
    assert 165 < bright < 190


def test_what_cannot_be_simulated_is_refused(em):
    with pytest.raises(GeometryError, match="channels"):
        SimulatedXray(Volume(np.zeros((2, 9, 9, 9), np.uint8), (10, 10, 10), (0, 0, 0), "two"))
    with pytest.raises(GeometryError, match="smaller"):
        SimulatedXray(em, XraySimulation(factor=(1, 1, 50)))
    with pytest.raises(InputError, match="do not vary"):
        SimulatedXray(Volume(np.ones((9, 9, 9), np.uint8), (10, 10, 10), (0, 0, 0), "flat"))
    with pytest.raises(GeometryError, match="not inside"):
        SimulatedXray(em).xray((slice(0, 21), slice(0, 5), slice(0, 5)))
    with pytest.raises(SettingsError, match="factor"):
        XraySimulation.parse({"factor": [0, 1, 1]})
