"""What a viewer shows is compared with truth as it was found and after edits, with a place for each error."""

import math

import numpy as np
import pytest

from connectomics.evaluation.compare import evaluate
from connectomics.io.skeletons import Skeletons
from connectomics.io.volume import Volume
from connectomics.pipeline.shown import compare_shown

SIZE, OFFSET = (20.0, 10.0, 10.0), (0.0, 0.0, 0.0)
NODES = np.stack([np.full(8, 10.0), np.full(8, 5.0), np.arange(5.0, 80, 10)], axis=1)
SKELETON = Skeletons(NODES, np.stack([np.arange(7), np.arange(1, 8)], 1), np.ones(8, int), np.full(8, np.nan))


def volume(array):
    return Volume(array, SIZE, OFFSET, "labels")


@pytest.fixture
def halves():
    """One neurite, found in two halves, and mended."""
    labels = np.ones((1, 1, 8), np.uint64)
    broken = labels.copy()
    broken[..., 4:] = 2
    return volume(broken), volume(labels)


@pytest.mark.parametrize(("xpress", "key"), [(False, "nerl"), (True, "erl")])
def test_skeletons_before_and_after(halves, xpress, key):
    broken, whole = halves
    first = compare_shown(broken, None, SKELETON, xpress=xpress)
    assert first.after is None and len(first.errors) == 1
    assert first.errors.features["kind"].tolist() == ["split"] and first.errors.places[0].tolist() == [
        10,
        5,
        40,
    ]
    both = compare_shown(broken, whole, SKELETON, xpress=xpress)
    assert both.before[key] == first.before[key] < both.after[key] and len(both.errors) == 0
    assert "worst" not in both.before


def test_labels_get_places_and_bits(halves):
    broken, whole = halves
    found = compare_shown(broken, None, whole)
    assert found.before == {key: value for key, value in evaluate(broken, whole).items() if key != "worst"}
    assert found.errors.places.tolist() == [[10.0, 5.0, 40.0]]
    assert math.isnan(found.errors.features["cost_nm"][0]) and found.errors.features["bits"][0] == 1.0
    assert {found.errors.features[f"segment_{side}"][0] for side in (1, 2)} == {1, 2}
