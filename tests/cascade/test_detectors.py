"""Scores of chunks: what is dark, bright or uneven stands out, and a chunk's score is its own."""

import numpy as np
import pytest

from connectomics.cascade.detectors import chunk_scores, scorer
from connectomics.cascade.settings import Detector
from connectomics.errors import SettingsError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.volume import Volume

CHUNK = (8, 8, 8)


def noise(seed: int = 0, shape=(16, 16, 24)) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 5, shape).astype(np.float32)


def volume_of(image: np.ndarray) -> Volume:
    return Volume(image, (10.0, 10.0, 10.0), (0.0, 0.0, 0.0), "drawn")


def all_scores(detector: Detector, image: np.ndarray) -> np.ndarray:
    score = scorer(detector, volume_of(image), CHUNK, InferenceSettings())
    return score(tuple(slice(0, -(-n // c)) for n, c in zip(image.shape, CHUNK, strict=True)))


@pytest.mark.parametrize(("method", "change"), [("dark", -40), ("bright", 40), ("variance", None)])
def test_the_chunk_that_holds_something_scores_highest(method, change):
    image = noise()
    inside = image[8:16, 0:8, 16:24]
    inside[2:6, 2:6, 2:6] = inside[2:6, 2:6, 2:6] + change if change else noise(1, (4, 4, 4)) * 3 - 200
    scores = all_scores(Detector(level=1, method=method, smooth=0.5), image)
    assert scores.shape == (2, 2, 3)
    assert np.unravel_index(scores.argmax(), scores.shape) == (1, 0, 2)
    other = {"dark": "bright", "bright": "dark"}.get(method)
    if other:  # negative control: what is dark is not bright
        wrong = all_scores(Detector(level=1, method=other, smooth=0.5), image)
        assert np.unravel_index(wrong.argmax(), wrong.shape) != (1, 0, 2)


@pytest.mark.parametrize("method", ["dark", "bright", "variance"])
def test_a_chunk_scores_the_same_alone_and_among_others(method):
    detector, image = Detector(level=1, method=method), noise(2, (20, 16, 21))
    whole = all_scores(detector, image)
    score = scorer(detector, volume_of(image), CHUNK, InferenceSettings())
    for index in np.ndindex(*whole.shape):
        alone = score(tuple(slice(i, i + 1) for i in index))
        assert alone[0, 0, 0] == whole[index]


def test_single_voxels_do_not_decide():
    image = np.zeros(CHUNK, np.float32)
    image[4, 4, 4] = -100
    assert chunk_scores(image, CHUNK, Detector(level=1, share=0.01))[0, 0, 0] == 0
    image[4] = -100
    assert chunk_scores(image, CHUNK, Detector(level=1, share=0.01))[0, 0, 0] == 100


@pytest.mark.parametrize("values", [{"method": "model"}, {"method": "dark", "model": "x"}, {"level": 0}])
def test_wrong_detectors_are_refused(values):
    with pytest.raises(SettingsError):
        Detector.parse({"level": 1} | values)
