"""The promise of a cascade: exact, kept over many drawn calibrations, and not by passing everything."""

import numpy as np
import pytest
from scipy.stats import beta, binom, binomtest

from connectomics.cascade.calibration import (
    Scored,
    calls_per_level,
    choose_thresholds,
    fewest_objects,
    path_of,
    tolerance_rank,
)
from connectomics.cascade.chunks import coarsened, refined
from connectomics.cascade.settings import Promise
from connectomics.errors import InputError

FACTORS = ((2, 2, 2), (4, 4, 4))


def drawn(rng, objects=10, edge=12) -> Scored:
    """Objects of 1-6 chunks in a row, each as visible in all its chunks and at all levels."""
    places, truth = [], np.zeros((edge,) * 3)
    for _ in range(objects):
        z, y, x = rng.integers(0, edge - 6, 3)
        chunks = np.array([(z, y, x + i) for i in range(rng.integers(1, 7))])
        places.append(chunks)
        truth[tuple(chunks.T)] = rng.normal(3.0, 1.0)  # one draw an object: its chunks depend on each other
    scores = []
    for factor in FACTORS:
        shape = tuple(edge // f for f in factor)
        blocks = truth.reshape(shape[0], factor[0], shape[1], factor[1], shape[2], factor[2])
        scores.append((blocks.max(axis=(1, 3, 5)) + rng.normal(0, 0.5, shape)).astype(np.float32))
    return Scored(scores, FACTORS, places, (edge,) * 3)


def kept(volume: Scored, thresholds, coverage) -> list[bool]:
    """Directly: which objects keep enough of their chunks."""
    result = []
    for chunks in volume.objects:
        passed = np.ones(len(chunks), bool)
        for level, threshold in enumerate(thresholds):
            passed &= volume.of_fine(level, chunks) >= threshold
        result.append(passed.mean() >= coverage)
    return result


def choose(rng, **promise):
    design, proof = ([drawn(rng) for _ in range(n)] for n in (3, 6))
    return choose_thresholds(design, proof, [1.0, 1.0], 20.0, Promise(**promise))


@pytest.mark.parametrize("recall", [0.8, 0.95])
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_rank_is_the_largest_that_keeps_the_promise(recall, confidence):
    n = fewest_objects(recall, confidence)
    assert tolerance_rank(n, recall, confidence) == 1
    assert tolerance_rank(n - 1, recall, confidence) == 0
    rank = tolerance_rank(500, recall, confidence)
    # the share below the k-th smallest of n is Beta(k, n - k + 1) distributed
    assert beta.cdf(1 - recall, rank, 500 - rank + 1) >= confidence
    assert beta.cdf(1 - recall, rank + 1, 500 - rank) < confidence
    assert binom.sf(rank - 1, 500, 1 - recall) >= confidence


@pytest.mark.parametrize("coverage", [0.5, 1.0])
def test_promise_is_kept_over_many_calibrations(coverage):
    rng = np.random.default_rng(5)
    others = [drawn(rng) for _ in range(60)]
    broken, calls = 0, []
    for _ in range(30):
        chosen = choose(rng, recall=0.9, confidence=0.8, coverage=coverage)
        recall = np.mean([k for volume in others for k in kept(volume, chosen.thresholds, coverage)])
        broken += recall < 0.9
        calls.append(calls_per_level(others[0], chosen.thresholds)[0] / 12**3)
    assert binomtest(broken, 30, 0.2, alternative="greater").pvalue > 0.01
    assert np.mean(calls) < 0.6  # not by passing everything


def test_volumes_as_the_unit_count_once_each_and_make_thresholds_more_cautious():
    rng = np.random.default_rng(11)
    design, proof = ([drawn(rng) for _ in range(n)] for n in (3, 12))
    chosen = {
        unit: choose_thresholds(
            design, proof, [1.0, 1.0], 20.0, Promise(recall=0.8, confidence=0.9, unit=unit)
        )
        for unit in ("object", "volume")
    }
    assert (chosen["object"].objects, chosen["volume"].objects) == (120, 12)
    assert max(chosen["volume"].thresholds) < max(chosen["object"].thresholds)
    with pytest.raises(InputError, match=r"12 volumes are too few.*it takes 22"):
        choose_thresholds(design, proof, [1.0, 1.0], 20.0, Promise(recall=0.9, confidence=0.9, unit="volume"))


def test_a_threshold_without_proof_breaks_the_promise():
    """Negative control: the quantile of the design volumes themselves is too bold."""
    rng = np.random.default_rng(6)
    others = [drawn(rng) for _ in range(40)]
    broken = 0
    for _ in range(20):
        design = [drawn(rng) for _ in range(2)]
        path = path_of(design, (1.0, 1.0))
        steps = np.sort(np.concatenate([path.object_steps(v, 1.0) for v in design]))
        thresholds = path.thresholds[:, steps[int(0.1 * len(steps))]]
        broken += np.mean([k for volume in others for k in kept(volume, thresholds, 1.0)]) < 0.9
    assert broken > 20 * 0.2


def test_steps_say_when_an_object_is_lost():
    volume = drawn(np.random.default_rng(7))
    path = path_of([volume], (1.0, 0.5))
    steps = path.object_steps(volume, 1.0)
    for number, step in enumerate(steps):
        assert kept(volume, path.thresholds[:, step], 1.0)[number]
        if step < path.thresholds.shape[1] - 1:
            assert not kept(volume, path.thresholds[:, step + 1], 1.0)[number]
    assert np.isneginf(path.thresholds[:, 0]).all()


def test_calls_against_counting():
    volume = drawn(np.random.default_rng(8))
    fine_level, coarse_level = volume.scores
    passed = np.kron(coarse_level >= 1.5, np.ones((2, 2, 2))).astype(bool)
    both = passed & (fine_level >= 1.0)
    assert calls_per_level(volume, (1.0, 1.5)) == [8 * both.sum(), passed.sum(), coarse_level.size]


def test_too_few_objects_are_refused_with_the_number_needed():
    with pytest.raises(InputError, match=r"60 objects are too few.*it takes 299"):
        choose(np.random.default_rng(9), recall=0.99, confidence=0.95, coverage=0.5)


def test_maps_of_chunks_at_edges_that_do_not_divide():
    fine = np.zeros((5, 3, 9), bool)
    fine[4, 2, 8] = True
    coarse = coarsened(fine, (2, 2, 4))
    assert coarse.shape == (3, 2, 3)
    assert np.argwhere(coarse).tolist() == [[2, 1, 2]]
    back = refined(coarse, (2, 2, 4), fine.shape)
    assert back.shape == fine.shape
    assert np.argwhere(back).tolist() == [[4, 2, 8]]
