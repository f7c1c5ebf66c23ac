"""What a network is scored by while it is trained."""

import numpy as np
import pytest

from connectomics.affinities import affinities_from_labels
from connectomics.training.sources import make_source
from connectomics.training.validation import segmentation_scores

NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


def halves(first, second, merged=False):
    """A source of two slabs, and affinities that tell them apart, or do not."""
    labels = np.full((16, 16, 32), first, np.uint16)
    labels[:, :, 16:] = second
    noise = np.random.default_rng(0).integers(0, 255, labels.shape, np.uint8)
    drawn = np.ones_like(labels) if merged else labels
    affinities, _ = affinities_from_labels(drawn, NEAREST)
    return make_source(noise, labels, True), affinities.astype(np.uint8) * 255


def score(*given):
    sources, affinities = zip(*given, strict=True)
    settings = {"fragments": "components"}
    return segmentation_scores(affinities, sources, NEAREST, settings, (0.3, 0.6))


def test_volumes_are_scored_apart():
    """Their segments bear the same numbers; together, the second would look like the first, crossed over."""
    assert score(halves(1, 2), halves(2, 1))["voi_sum"] == pytest.approx(0, abs=1e-9)
    found = score(halves(1, 2), halves(1, 2, merged=True))
    assert found["voi_merge"] == pytest.approx(0.5) and found["voi_split"] == pytest.approx(0, abs=1e-9)


def test_nothing_labelled_is_nothing_to_score():
    source, affinities = halves(1, 2)
    empty = make_source(source.raw.numpy(), np.zeros((16, 16, 32), np.uint16), False)
    assert score((empty, affinities)) == {}
    assert score((empty, affinities), halves(1, 2))["voi_sum"] == pytest.approx(0, abs=1e-9)
