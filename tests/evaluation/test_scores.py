"""Scores become JSON that any parser reads."""

import json

import numpy as np

from connectomics.evaluation.scores import json_ready


def test_nan_and_numpy_values():
    scores = {"a": np.nan, "b": np.float32(0.5), "c": [np.inf, np.int64(2)], "d": {"e": (np.uint64(2**63),)}}
    cleaned = json_ready(scores)
    assert cleaned == {"a": None, "b": 0.5, "c": [None, 2], "d": {"e": [2**63]}}
    json.dumps(cleaned, allow_nan=False)
    assert json_ready({"array": np.array([1.0, np.nan]), "flag": True}) == {
        "array": [1.0, None],
        "flag": True,
    }
