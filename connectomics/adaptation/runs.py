"""What fine-tuning runs left to plan by: how many cubes each learnt from, and the VOI it came to."""

from collections.abc import Sequence
from pathlib import Path

from connectomics.adaptation.finetune import RECORD
from connectomics.errors import InputError
from connectomics.io.files import read_json

SCORE = "validation_voi_sum"


def read_runs(folders: Sequence[Path]) -> tuple[list[float], list[float]]:
    """Numbers of cubes and VOI sums of runs of `adapt finetune`.

    Raises
    ------
    InputError
        A folder holds no such run, one that is not complete or was not scored, or they were scored on
        different crops, so that their scores do not compare.
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
            raise InputError(
                f"{name}: was scored on other crops ({', '.join(crops)}) than {first} "
                f"({', '.join(scored_on[first])}), so the scores do not compare."
            )
    return cubes, scores
