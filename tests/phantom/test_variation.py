"""Families of phantoms: a variation changes what it names and nothing else; without one nothing changes."""

import numpy as np
import pytest

from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.phantom.variation import Variation

BOX = (slice(0, 40),) * 3
PLAIN = Phantom(PhantomSettings(seed=3))


def varied(**changes):
    return Phantom(PhantomSettings(seed=3), Variation(**changes))


def test_no_variation_is_the_frozen_phantom():
    same = varied()
    for what in ("labels", "xray", "em"):
        np.testing.assert_array_equal(getattr(same, what)(BOX), getattr(PLAIN, what)(BOX))


def test_looks_change_the_image_alone():
    faint = varied(look={"contrast": 0.5, "noise": 0.5, "streaks": 0.5, "rings": 0.5, "drift": 0.5})
    np.testing.assert_array_equal(faint.labels(BOX), PLAIN.labels(BOX))
    assert faint.xray(BOX).std() == pytest.approx(PLAIN.xray(BOX).std() / 2, rel=0.1)
    np.testing.assert_array_equal(faint.em(BOX), PLAIN.em(BOX))
    assert np.abs(varied(em_noise=3.0).em(BOX).astype(int) - PLAIN.em(BOX)).mean() > 5


def test_tissue_changes_the_labels():
    loose, thin = varied(tissue={"gap": 0.2}), varied(tissue={"g_shift": 0.1})
    share = (PLAIN.labels(BOX) > 0).mean()
    assert (loose.labels(BOX) > 0).mean() < 0.9 * share
    assert (thin.labels(BOX) > 0).mean() > 1.05 * share


def test_a_field_that_does_not_exist_is_an_error():
    with pytest.raises((ValueError, AttributeError, TypeError)):
        varied(tissue={"gapp": 0.2})
    with pytest.raises((ValueError, AttributeError, TypeError)):
        varied(look={"contrst": 0.2})
