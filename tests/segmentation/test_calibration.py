"""Calibration on drawn data of known probability, and what a contract may say of it."""

import json

import numpy as np
import pytest

from connectomics.affinities import NEAREST
from connectomics.errors import ModelError
from connectomics.segmentation.calibration import (
    COUNTS_KEY,
    EDGE_KEY,
    LENGTHS,
    RANGE_KEYS,
    UNCALIBRATED,
    UNDECIDED_KEY,
    VOXEL_KEYS,
    Calibration,
    without_edges,
)
from connectomics.segmentation.edge_features import FEATURES, MERGED, EdgeModel, Surroundings, edge_features
from connectomics.segmentation.fit_calibration import (
    Evidence,
    connected_given,
    fit_logistic,
    fragment_objects,
    undecided_range,
)
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.uncertainty import (
    calibrated_edge_uncertainty,
    voxel_uncertainty,
)


def test_a_table_recovers_known_probabilities_and_never_falls():
    random = np.random.default_rng(0)
    known = (np.arange(256) / 255) ** 2  # a network that is far too sure
    number = random.integers(500, 2000, 256)
    number[100:110] = 0  # affinities that never occur
    connected = random.binomial(number, known)
    table = connected_given(number - connected, connected)
    assert (np.diff(table) >= 0).all() and table.min() >= 0 and table.max() <= 1
    assert np.abs(table - known).max() < 0.05 < np.abs(np.arange(256) / 255 - known).max()


def test_voxels_are_counted_where_truth_knows():
    labels = np.array([[[1, 1, 2, 0, -1, 3]]], np.int32)
    affinities = np.array([[[[9, 11, 12, 13, 14, 15]]]] * 3, np.uint8).reshape(3, 1, 1, 6)
    evidence = Evidence()
    evidence.add_voxels(affinities, labels, NEAREST)
    assert np.argwhere(evidence.voxels).tolist() == [[2, 0, 12], [2, 0, 13], [2, 1, 11]]  # -1 beside 0 and 3


def test_a_voxel_is_as_uncertain_as_its_table_says():
    connected = np.tile(np.linspace(0, 1, 256) ** 2, (3, 1))
    affinities = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 4)).astype(np.uint8)
    wrong = np.where(affinities[:3] > 127, 1 - connected[0][affinities[:3]], connected[0][affinities[:3]])
    found = voxel_uncertainty(affinities, connected)
    np.testing.assert_array_equal(found, np.rint(255 * wrong.mean(axis=0)))
    assert (found != voxel_uncertainty(affinities)).any(), "test invalid: the table changes nothing"


def test_a_logistic_model_is_recovered_and_calibrated():
    random = np.random.default_rng(1)
    features = random.normal(3, 2, (20000, 3)) * (1, 10, 0.1)
    known = np.array([-1.0, 0.8, -0.05, 4.0])
    probability = 1 / (1 + np.exp(-(known[0] + features @ known[1:])))
    weights = fit_logistic(features, random.random(20000) < probability)
    np.testing.assert_allclose(weights, known, rtol=0.15)
    model = EdgeModel(weights, np.full(3, -np.inf), np.full(3, np.inf))
    assert np.abs(model.same_object(features) - probability).max() < 0.05
    constant = np.column_stack([features, np.ones(20000)])  # a feature that says nothing breaks nothing
    assert np.isfinite(fit_logistic(constant, random.random(20000) < probability)).all()


def test_the_undecided_range_is_where_both_happen():
    mean = np.linspace(0, 1, 2000, dtype=np.float32)
    same = np.random.default_rng(2).random(2000) < np.clip(
        (mean - 0.3) / 0.4, 0, 1
    )  # 5% at 0.32, 95% at 0.68
    low, high = undecided_range(mean, same)
    assert low == pytest.approx(0.32, abs=0.04) and high == pytest.approx(0.68, abs=0.04)
    low, high = undecided_range(mean, mean > 0.5)  # no doubt at all
    assert low == high == pytest.approx(0.5, abs=0.01)


def test_a_fragment_is_of_the_object_that_fills_it():
    #          pure      two thirds  half/half   mostly unlabelled   background
    fragments = [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 0, 5, 5]
    labels = [7, 7, 7, 7, 8, 8, 7, 7, 8, 8, 7, -1, 0, 0, 7, 0, 0]
    found = fragment_objects(np.array([[fragments]], np.uint64), np.array([[labels]], np.int32))
    assert found.tolist() == [0, 7, 8, 0, 0, 0]


WHOLE = (slice(None),) * 3
NO_LIMIT = np.full(len(FEATURES), np.inf)


def drawn_graph(random):
    """Edges among 300 fragments, some of them merged, and their surroundings."""
    pairs = np.unique(np.sort(random.integers(1, 301, (1500, 2)), axis=1), axis=0)
    edges = pairs[pairs[:, 0] < pairs[:, 1]].astype(np.uint64)
    mean, std = random.random((2, len(edges))).astype(np.float32)
    size = random.integers(1, 500, len(edges)).astype(np.float32)
    segment = np.concatenate(([0], random.integers(1, 30, 300))).astype(np.uint64)
    return edges, mean, std, size, np.concatenate(([0], random.integers(1, 9999, 300))), segment


def test_features_are_the_same_whatever_the_pieces():
    random = np.random.default_rng(3)
    edges, mean, std, size, sizes, segment = drawn_graph(random)
    whole, pieces = Surroundings(sizes, segment), Surroundings(sizes, segment)
    whole.add(edges, mean, size)
    for part in np.array_split(random.permutation(len(edges)), 7):
        pieces.add(edges[part], mean[part], size[part])
    model = EdgeModel(random.normal(0, 0.1, 1 + len(FEATURES)), np.full(len(FEATURES), -3.0), NO_LIMIT)
    expected = edge_features(edges, mean, std, size, whole)
    some = slice(13, 29)
    found = edge_features(edges[some], mean[some], std[some], size[some], pieces)
    np.testing.assert_array_equal(found, expected[some])
    np.testing.assert_array_equal(
        calibrated_edge_uncertainty(found, model), calibrated_edge_uncertainty(expected, model)[some]
    )
    assert np.isfinite(expected).all() and expected.shape == (len(edges), len(FEATURES))


def test_features_of_a_drawn_graph():
    #  1 ==0.8== 2 --0.2-- 3    sizes 10, 20, 40; 1 and 2 are one segment
    edges = np.array([[1, 2], [2, 3]], np.uint64)
    mean, size = np.array([0.8, 0.2], np.float32), np.array([6, 2], np.float32)
    around = Surroundings(np.array([0, 10, 20, 40]), np.array([0, 1, 1, 2], np.uint64))
    around.add(edges, mean, size)
    std, penalty = np.array([0.1, 0.3], np.float32), np.array([0, 0.15], np.float32)
    strong, weak = edge_features(edges, mean, std, size, around, penalty)
    low, high = np.log(0.25), np.log(4)
    np.testing.assert_allclose(
        strong, [high, np.log(6), np.log(10), np.log(20), np.log(30), 1, high, 0.1, 0, 0, 0, 0], atol=1e-6
    )
    np.testing.assert_allclose(
        weak,
        [low, np.log(2), np.log(20), np.log(40), np.log(30), 0, 0, 0.3, low - high, 0, 0, 0.15],
        atol=1e-6,
    )


def test_an_edge_is_wrong_where_the_decision_taken_is():
    weights = np.zeros(1 + len(FEATURES))
    weights[0] = np.log(9)  # nine in ten are one object, whatever the features
    features = np.zeros((2, len(FEATURES)))
    features[0, MERGED] = 1
    model = EdgeModel(weights, -NO_LIMIT, NO_LIMIT)
    np.testing.assert_allclose(calibrated_edge_uncertainty(features, model), [0.1, 0.9], atol=1e-6)


def test_a_feature_beyond_its_range_counts_as_its_end():
    weights = np.ones(1 + len(FEATURES))
    inside, beyond = np.full((1, len(FEATURES)), 2.0), np.full((1, len(FEATURES)), 50.0)
    model = EdgeModel(weights / 20, np.zeros(len(FEATURES)), np.full(len(FEATURES), 2.0))
    assert model.same_object(beyond) == model.same_object(inside)
    free = EdgeModel(weights / 20, -NO_LIMIT, NO_LIMIT)
    assert free.same_object(beyond) > free.same_object(inside), "test invalid"


@pytest.fixture(scope="module")
def evidence():
    """What drawn cells with rough affinities say."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(0)
    labels = np.arange(1, 28, dtype=np.int32).reshape(3, 3, 3).repeat(16, 0).repeat(16, 1).repeat(16, 2)
    rough = gaussian_filter(random.standard_normal((3, *labels.shape)), (0, 2, 2, 2))
    affinities = 170 + 70 * rough / rough.std()
    for axis in range(3):
        border = np.diff(labels, axis=axis, prepend=-1) != 0
        affinities[axis][border] -= 90
    found = Evidence()
    affinities = np.clip(affinities, 0, 255).astype(np.uint8)
    found.add_voxels(affinities, labels, NEAREST)
    found.add_edges(affinities, labels, NEAREST, SegmentationSettings(max_distance=4, threshold=0.5), WHOLE)
    return found


def test_the_numbers_survive_a_file_and_say_what_they_were_fitted_to(evidence):
    values = evidence.calibration()
    assert {key: len(numbers) for key, numbers in values.items()} == LENGTHS
    read = Calibration.parse(json.loads(json.dumps(values)))
    assert read.voxels.tolist() == [values[key] for key in VOXEL_KEYS]
    kept = (read.edges.weights, read.edges.low, read.edges.high)
    assert [table.tolist() for table in kept] == [values[key] for key in (EDGE_KEY, *RANGE_KEYS)]
    assert read.said == {"uncertainty": True, "p_wrong": True}
    same, features = evidence.same[0], evidence.features[0]
    edges, of_one, wrong = values[COUNTS_KEY]
    assert (edges, of_one) == (len(same), same.sum()) and 0 < wrong < edges
    low, high = values[UNDECIDED_KEY]
    assert 0 < low < high < 1
    stated = calibrated_edge_uncertainty(features, read.edges)
    decided_wrongly = same != (features[:, MERGED] > 0)
    assert stated.mean() == pytest.approx(decided_wrongly.mean(), abs=0.02)
    assert stated[decided_wrongly].mean() > 1.5 * stated[~decided_wrongly].mean()


def test_too_few_edges_make_no_model(evidence):
    few = Evidence(evidence.voxels, [f[:15] for f in evidence.features], [s[:15] for s in evidence.same])
    assert set(few.calibration()) == set(VOXEL_KEYS)
    assert Evidence().calibration() == {}


def test_other_settings_are_not_those_it_was_calibrated_with(evidence):
    values = evidence.calibration()
    assert Calibration.parse(values, fits=False).said == {"uncertainty": True, "p_wrong": False}
    assert Calibration.parse(without_edges(values)).said == {"uncertainty": True, "p_wrong": False}
    assert without_edges(None) is None
    assert Calibration.parse(None).said == UNCALIBRATED.said == {"uncertainty": False, "p_wrong": False}


def test_edges_calibrated_before_there_were_penalties_are_judged_as_they_were():
    random = np.random.default_rng(0)
    weights, low, high = random.normal(size=len(FEATURES)), [-1.0] * len(FEATURES), [2.0] * len(FEATURES)
    old = {EDGE_KEY: weights.tolist(), RANGE_KEYS[0]: low[:-1], RANGE_KEYS[1]: high[:-1]}
    new = {EDGE_KEY: [*weights, 0.0], RANGE_KEYS[0]: low, RANGE_KEYS[1]: high}
    features = random.normal(size=(9, len(FEATURES)))
    found, expected = (Calibration.parse(one).edges.same_object(features) for one in (old, new))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("key", "numbers", "says"),
    [
        (EDGE_KEY, [1.0, 2.0], "got 2"),
        ("voxel_z", [0.5] * 255, "256"),
        ("voxel_y", [1.5] * 256, "probabilities"),
        (EDGE_KEY, [float("nan")] * (1 + len(FEATURES)), "finite"),
    ],
)
def test_damaged_numbers_are_one_clear_error(key, numbers, says):
    with pytest.raises(ModelError, match=says):
        Calibration.parse({key: numbers})
