"""The panels of a translation's picture."""

import numpy as np

from connectomics.evaluation.translation_picture import draw_translation


def panels(**spreads):
    generator = np.random.default_rng(0)
    real = generator.integers(0, 255, (30, 36), dtype=np.uint8)
    em = np.clip(real + generator.normal(0, 9, real.shape), 0, 255).astype(np.uint8)
    figure = draw_translation(real[::3, ::3], em, real, spreads, "a place")
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}, em, real


def test_every_map_has_a_panel_and_the_scale_is_shared():
    spread = np.full((30, 36), 5, np.float16)
    found, em, real = panels(aleatoric=spread, epistemic=spread / 2)
    assert list(found) == ["X-ray", "translation", "real EM", "aleatoric", "epistemic", "|error|"]
    shown = found["|error|"].images[0]
    np.testing.assert_array_equal(shown.get_array(), np.abs(em.astype(np.float32) - real))
    assert {found[name].images[0].get_clim() for name in list(found)[3:]} == {shown.get_clim()}


def test_without_spreads_there_is_still_the_error():
    assert list(panels()[0]) == ["X-ray", "translation", "real EM", "|error|"]
