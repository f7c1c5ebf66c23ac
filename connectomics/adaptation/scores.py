"""How well models may be expected to do on a volume: from how well they did on data that look like it."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from connectomics.errors import InputError
from connectomics.settings import Settings

WIDTH = 0.1
"""Squared MMD (of common features) over which data count 1/e times as much. It was chosen on the transfers of
seed 0 in data/adaptation.json, among 0.05, 0.1 and 0.2."""

FLOOR = 0.02
"""Bits added to every VOI before its logarithm: differences below this mean nothing."""


class Score(Settings):
    """How well a model did on data kept for testing."""

    model_config = ConfigDict(allow_inf_nan=False)

    model: str
    """The model that was scored, named as for ``--model``."""
    data: str
    """The model whose training data these are like: its stored features say what they look like."""
    voi_sum: float = Field(ge=0)
    """VOI sum in bits."""


def read_scores(path: Path) -> list[Score]:
    """Scores from a JSON file: a list of objects with ``model``, ``data`` and ``voi_sum``.

    Raises
    ------
    InputError
        No such file, or not such a list, or an empty one.
    """
    try:
        listed = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"--scores {path}: {error}") from error
    if not isinstance(listed, list) or not listed or not all(isinstance(row, dict) for row in listed):
        raise InputError(
            f'--scores {path}: expected a list of objects, each {{"model": ..., "data": ..., "voi_sum": ...}}'
        )
    return [Score.parse(row, f"--scores {path}, number {k + 1}") for k, row in enumerate(listed)]


def known_as(name: str) -> str:
    """A name that is the same for a model however its folder is written."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def expected_scores(scores: Iterable[Score], distance: Mapping[str, float]) -> dict[str, float]:
    """VOI that each model may be expected to have on a volume, over that of the average model.

    On each data set a model's log VOI is compared with the mean of the models scored there; a volume's
    expectation is the mean of that over data sets, each weighted by how much it looks like the volume
    (Nadaraya-Watson regression, doi:10.1137/1109020): exp(-squared MMD / `WIDTH`).

    Parameters
    ----------
    scores
        Of models on data; a data set without distance, or on which one model alone was scored, says nothing.
    distance
        Squared MMD between the volume and each data set, by name.

    Returns
    -------
    dict
        By model: 1 as the average model, 0.5 half its VOI. Models without a score that says anything are
        left out.
    """
    by_data: dict[str, dict[str, float]] = defaultdict(dict)
    for score in scores:
        by_data[known_as(score.data)][known_as(score.model)] = float(np.log(score.voi_sum + FLOOR))
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for data, logs in by_data.items():
        if data in distance and len(logs) > 1:
            average = float(np.mean(list(logs.values())))
            for model, value in logs.items():
                found[model].append((distance[data], value - average))
    return {model: _expectation(*np.transpose(pairs)) for model, pairs in found.items()}


def _expectation(distances: NDArray[np.float64], differences: NDArray[np.float64]) -> float:
    weights = np.exp((distances.min() - distances) / WIDTH)
    return float(np.exp(np.average(differences, weights=weights)))
