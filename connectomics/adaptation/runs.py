"""What fine-tuning runs left to plan by: how many cubes each learnt from, and the VOI it came to."""

import logging
from collections.abc import Sequence
from pathlib import Path

from connectomics.adaptation.finetune import RECORD
from connectomics.errors import InputError
from connectomics.io.files import read_json

_log = logging.getLogger(__name__)

SCORE = "validation_voi_sum"


def read_runs(folders: Sequence[Path]) -> tuple[list[float], list[float]]:
    """Numbers of cubes and VOI sums of runs of `adapt finetune`.

    Raises
    ------
    InputError
        A folder holds no such run, or one that is not complete or was not scored.
    """
    cubes: list[float] = []
    scores: list[float] = []
    scored_on: dict[str, list[str]] = {}
    for folder in folders:
        record = read_json(folder / RECORD)
        if not isinstance(record, dict) or not isinstance(record.get("cubes"), int):
            raise InputError(
                f"{folder}: has no {RECORD}; name folders of runs of 'adapt finetune' that are complete."
            )
        found = record.get("scores")
        value = found.get(SCORE) if isinstance(found, dict) else None
        if not isinstance(value, int | float) or not value >= 0:
            raise InputError(
                f"{folder}: has no {SCORE}. Score with crops that were not learnt from: 'adapt select "
                "--held-out' or 'adapt finetune --validation'."
            )
        cubes.append(float(record["cubes"]))
        scores.append(float(value))
        scored_on[str(folder)] = sorted(map(str, record.get("validation_crops") or []))
    first = next(iter(scored_on), None)
    for name, crops in scored_on.items():
        if first is not None and crops != scored_on[first]:
            _log.warning(
                "%s was scored on other crops (%s) than %s (%s): the crops may be what differs. Score all "
                "runs on the same, with 'adapt select --held-out' or 'adapt finetune --validation'.",
                name,
                "; ".join(crops),
                first,
                "; ".join(scored_on[first]),
            )
            break
    return cubes, scores
