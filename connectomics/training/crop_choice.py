"""Which crop a run trains with: the recipe's, or the largest whose step fits in memory; and a smaller one."""

import itertools
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from connectomics.blockwise.peak import tree_bytes
from connectomics.errors import SettingsError
from connectomics.io.files import write_atomically
from connectomics.networks.build import divisor_of
from connectomics.roi import IntTriple
from connectomics.training.settings import TrainSettings
from connectomics.training.step_memory import StepMemory, measure_steps, return_freed_memory

_log = logging.getLogger(__name__)

RECORD = "crop.json"

_SPARE = 0.05
"""Share of the memory that is left free: how tensors lie in it is not quite the same at every size."""

_FIRST, _FARTHER = 2**16, 3
"""Voxels of a batch of the first size measured, at least; and how many times as many has the second."""

_LARGEST = 2**30
"""Voxels beyond which no crop is thought of."""

_SMALLER = 0.75
"""Share of the voxels that is tried when a step ran out of memory."""


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a run's folder says of its crop; None where the recipe's crop is used as it is."""
    path = folder / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def settle_crop(settings: TrainSettings, folder: Path, sources: Sequence[Any]) -> TrainSettings:
    """The settings with the crop that the run uses: its record's, else the largest that fits `memory`.

    Parameters
    ----------
    settings
        The run, as its recipe says.
    folder
        Of the run; what is chosen is written there.
    sources
        The training volumes, in memory already.

    Raises
    ------
    SettingsError
        Not even the smallest crop fits; the message says what would.
    """
    record = read_record(folder)
    if settings.memory is not None:
        return_freed_memory()
    elif record is None:
        return settings
    if record is None:
        record = _chosen(settings, sources)
        _write(folder, record)
    return settings.model_copy(update={"crop": tuple(record["crop"])})


def _chosen(settings: TrainSettings, sources: Sequence[Any]) -> dict[str, Any]:
    """The record of a choice by measurement."""
    budget = settings.memory or 0
    smallest = [min(source.raw.shape[axis] for source in sources) for axis in range(3)]
    crops = growing_crops(settings.crop, divisor_of(settings.network), smallest)
    held = _held_bytes(settings, sources)
    measured = measure_steps(settings, sizes_to_measure(crops, settings.batch))
    model = _Line(measured, held)
    allowed = (1 - _SPARE) * budget
    fitting = [crop for crop in crops if model.predicted(crop) <= allowed]
    if not fitting:
        need = model.predicted(crops[0]) / (1 - _SPARE)
        raise SettingsError(
            f"memory: {budget / 1e9:.2f} GB is too little to train this network with batch {settings.batch}: "
            f"its smallest crop {crops[0]} needs {need / 1e9:.2f} GB. Give --memory "
            f"{math.ceil(need / 1e8) / 10:.1f}GB or more, or a smaller batch."
        )
    crop = fitting[-1]
    whole = crop == crops[-1] and math.prod(crop) < _LARGEST
    _log.info(
        "crop %s chosen for %.2f GB: a step should take %.2f GB (measured: %s)%s; the recipe's was %s",
        crop, budget / 1e9, model.predicted(crop) / 1e9,
        ", ".join(f"{m.crop} {(held + m.grown) / 1e9:.2f} GB" for m in measured),
        "; no larger one fits the smallest training volume" if whole else "", settings.crop,
    )  # fmt: skip
    return {
        "crop": list(crop),
        "memory": budget,
        "predicted_bytes": round(model.predicted(crop)),
        "measured": [{"crop": list(m.crop), "bytes": round(held + m.grown)} for m in measured],
        "recipe_crop": list(settings.crop),
        "out_of_memory": [],
    }


class _Line:
    """Bytes of a step as a straight line in the voxels of a crop, through the sizes measured."""

    def __init__(self, measured: Sequence[StepMemory], held: int) -> None:
        voxels = [math.prod(m.crop) for m in measured]
        low, high = measured[0], measured[-1]
        apart = voxels[-1] - voxels[0]
        self._slope = max(0.0, (high.grown - low.grown) / apart) if apart else low.grown / voxels[0]
        self._start = held + low.grown - self._slope * voxels[0]

    def predicted(self, crop: Sequence[int]) -> float:
        """Bytes at the peak of a step with this crop."""
        return self._start + self._slope * math.prod(crop)


def _held_bytes(settings: TrainSettings, sources: Sequence[Any]) -> int:
    """What is there before the first step: this process with its volumes; on CUDA, the volumes on it."""
    tensors = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
        for source in sources
        for value in vars(source).values()
        if isinstance(value, torch.Tensor)
    }
    if settings.device != "cpu" and torch.cuda.is_available():
        return sum(tensors.values())
    eroded = sum(s.labels.nbytes for s in sources if hasattr(s, "labels") and settings.targets.erosion)
    return tree_bytes(psutil.Process()) + eroded


def growing_crops(shape: IntTriple, divisor: IntTriple, most: Sequence[int]) -> list[IntTriple]:
    """Crops from the smallest that the network takes, each an edge's step larger than the one before.

    The edge that lags most behind the proportions of `shape` grows first, of equals the last; none grows
    beyond `most`.

    Examples
    --------
    >>> growing_crops((32, 64, 64), (8, 8, 8), (16, 99, 99))[:5]
    [(8, 8, 8), (8, 8, 16), (8, 16, 16), (8, 16, 24), (8, 24, 24)]
    """
    edges, found = list(divisor), [divisor]
    while math.prod(edges) < _LARGEST:
        free = [axis for axis in range(3) if edges[axis] + divisor[axis] <= most[axis]]
        if not free:
            break
        lagging = min(free, key=lambda axis: (edges[axis] / shape[axis], -axis))
        edges[lagging] += divisor[lagging]
        found.append((edges[0], edges[1], edges[2]))
    return found


def sizes_to_measure(crops: Sequence[IntTriple], batch: int) -> list[IntTriple]:
    """Two crops far enough apart to draw a line through; one where there is no other."""
    enough = (i for i, crop in enumerate(crops) if math.prod(crop) * batch >= _FIRST)
    first = min(next(enough, len(crops) - 1), max(0, len(crops) - 2))
    far = _FARTHER * math.prod(crops[first])
    second = next((crop for crop in crops if math.prod(crop) >= far), crops[-1])
    return [crop for crop, _ in itertools.groupby([crops[first], second])]


def smaller_crop(settings: TrainSettings, folder: Path, step: int) -> TrainSettings | None:
    """The settings with a crop of three quarters of the voxels, which the run's folder records.

    Parameters
    ----------
    settings
        With the crop that was too large.
    folder
        Of the run.
    step
        Optimiser steps taken before.

    Returns
    -------
    TrainSettings or None
        None where there is no smaller crop.
    """
    crops = growing_crops(settings.crop, divisor_of(settings.network), settings.crop)
    fitting = [c for c in crops if math.prod(c) <= _SMALLER * math.prod(settings.crop)]
    if not fitting:
        return None
    crop = fitting[-1]
    _log.warning(
        "step %d ran out of memory with crop %s; the run goes on with %s", step + 1, settings.crop, crop
    )
    start = {"crop": list(settings.crop), "recipe_crop": list(settings.crop), "out_of_memory": []}
    record = start | (read_record(folder) or {})
    record["out_of_memory"] = [*record["out_of_memory"], {"step": step + 1, "crop": list(settings.crop)}]
    _write(folder, record | {"crop": list(crop)})
    return settings.model_copy(update={"crop": crop})


def _write(folder: Path, record: dict[str, Any]) -> None:
    write_atomically(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())


def is_out_of_memory(error: BaseException) -> bool:
    """True for an error that says that memory ran out, of a GPU or of the machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    told = str(error).lower()
    signs = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(sign in told for sign in signs)
