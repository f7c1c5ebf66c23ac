"""Fine-tuning a model to the annotated crops of a volume, and what is kept of it for planning."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from connectomics.adaptation.holding_out import describe, fitted_shape, split_crop
from connectomics.adaptation.recipe import recipe_for
from connectomics.adaptation.settings import AdaptSettings
from connectomics.errors import InputError, ModelError
from connectomics.io.files import read_json, write_json
from connectomics.networks.models import Model, check_task, find_model
from connectomics.roi import IntTriple, Triple
from connectomics.training.annotations import (
    Annotated,
    annotated_volumes,
    check_voxel_size,
    nothing_annotated,
)
from connectomics.training.data_settings import VolumeData
from connectomics.training.settings import TrainSettings

_log = logging.getLogger(__name__)

RECORD = "adaptation.json"
"""What a run keeps of itself: see `finetune`."""

Report = dict[str, Any]


def finetune(
    model: Model,
    annotations: Path,
    output: Path,
    settings: AdaptSettings,
    validation: Path | None,
    device: str,
) -> Report:
    """Fine-tune a model on the crops of a folder that are annotated; resumes when called again.

    Parameters
    ----------
    model
        What is adapted; it segments.
    annotations
        A folder that `adapt select` wrote, annotated in part or wholly, with labels, skeletons or both.
    output
        Folder of the run: as of `connectomics train`, and ``adaptation.json``.
    settings
        How it learns.
    validation
        Another such folder to score with, beside the crops that were chosen to be held out. Without either, a
        slab of each crop is.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    dict
        ``model`` (the new one's folder), ``source``, ``cubes`` (annotated crops learnt from), ``crops`` and
        ``validation_crops`` by name, ``left`` (not annotated yet), ``scores_before`` and ``scores`` on the
        held-out crops, ``minutes_expected``, ``minutes``.

    Raises
    ------
    InputError
        Nothing is annotated, or the crops are of another voxel size.
    OutputExistsError
        The folder holds another run, for example one on fewer crops.
    """
    from connectomics.training.train import train

    check_task(model, translates=False)
    if not model.contract.offsets:
        raise ModelError(f"model '{model.contract.name}': is a detector, which is trained anew instead.")
    found = annotated_volumes(annotations.resolve(), str(annotations.resolve()), settings.crops)
    check_voxel_size(found.todo, model.contract.voxel_size, str(annotations))
    if not found.fit:
        raise InputError(nothing_annotated(str(annotations)))
    if settings.crops is not None and len(found.fit) < settings.crops:
        raise InputError(
            f"--crops {settings.crops}: only {len(found.fit)} crops of {annotations} are annotated so far."
        )
    recipe = train_settings(model, found, settings, validation, device)
    expected = expected_minutes(recipe)
    began = time.monotonic()
    folder = train(recipe, output)
    adapted = find_model(folder)
    known = read_json(output / RECORD) or {}
    report = {
        "format": "connectomics adaptation 1",
        "model": str(folder),
        "source": recipe.finetune.source if recipe.finetune else "",
        "annotations": str(annotations),
        "strategy": found.todo.strategy,
        "cubes": len(found.fit),
        "crops": _names(found.fit),
        "validation_crops": [describe(volume) for volume in recipe.validation.volumes],
        "left": list(found.left),
        "scores_before": known.get("scores_before") or scores_before(model, recipe),
        "scores": adapted.contract.scores,
        "minutes_expected": round(expected, 2),
        "minutes": known.get("minutes") or round((time.monotonic() - began) / 60, 2),
    }
    write_json(output / RECORD, report)
    return report


def _names(volumes: Sequence[Any]) -> list[str]:
    return [Path(volume.raw).parent.stem for volume in volumes]


def train_settings(
    model: Model, found: Annotated, settings: AdaptSettings, validation: Path | None, device: str
) -> TrainSettings:
    """The whole recipe: the model's, with the annotated crops as volumes."""
    held_out = list(found.validation)
    if validation is not None:
        other = annotated_volumes(validation.resolve(), str(validation.resolve()))
        check_voxel_size(other.todo, model.contract.voxel_size, str(validation))
        painted = [one for one in (*other.fit, *other.validation) if one.labels is not None]
        if not painted:
            raise InputError(f"--validation {validation}: no crop has painted labels to score with.")
        learnt = sorted({one.raw for one in found.fit} & {one.raw for one in painted})
        if learnt:
            raise InputError(
                f"--validation {validation}: {', '.join(learnt)} would be learnt from and scored with. Name "
                "a folder of other crops, or leave it out: a part of each crop is held out then."
            )
        held_out += [one.model_copy(update={"skeletons": None}) for one in painted]
    fit = list(found.fit)
    if not held_out and settings.hold_out:
        parts = [split_crop(one, found.todo.voxel_size, settings.hold_out) for one in fit]
        fit, held_out = [part[0] for part in parts], [part[1] for part in parts if part[1] is not None]
    size = found.todo.voxel_size
    values = recipe_for(model, _smallest(fit, size), size, settings)
    names = ", ".join(_names(found.fit))
    said = f"{len(found.fit)} crops of {found.todo.volume}: {names}"
    values["finetune"]["annotations"] = f"{said} (as painted: {found.digest})"
    values["export"]["data"] = f"{model.contract.training.data}; then {values['finetune']['annotations']}"
    recipe = TrainSettings.parse(values | {"device": device})
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"volumes": tuple(fit)}),
            "validation": recipe.validation.model_copy(update={"volumes": tuple(held_out)}),
        }
    )


def scores_before(model: Model, recipe: TrainSettings) -> dict[str, float]:
    """Scores of the model as it was on what the recipe holds out, judged as the adapted one is."""
    from connectomics.networks.checkpoint import load_network
    from connectomics.training.loading import load_volumes
    from connectomics.training.validation import validate

    sources = load_volumes(recipe.data, recipe.validation.volumes, recipe.truth)
    known = model.contract.normalisation
    if known.kind == "fixed":
        sources = [replace(source, mean=known.mean, std=known.std) for source in sources]
    settings = recipe.validation
    scores = validate(
        load_network(model).eval(),
        sources,
        model.contract.divisor,
        recipe.targets.offsets,
        settings.segmentation,
        settings.thresholds,
    )
    return {f"validation_{k}": round(v, 4) for k, v in scores.items() if k != "threshold"}


def _smallest(volumes: Sequence[VolumeData], voxel_size: Triple) -> IntTriple:
    """Voxels that every crop has along each axis, its context included."""
    shapes = [fitted_shape(one, voxel_size) for one in volumes]
    z, y, x = (int(n) for n in np.min(shapes, axis=0))
    return z, y, x


def expected_minutes(settings: TrainSettings) -> float:
    """How long a run will take, from two steps of its network on noise; said before it starts."""
    import torch

    from connectomics.networks.build import build_network

    on = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    network = build_network(settings.network, 1, sum(head.channels for head in settings.heads())).to(on)
    batch = torch.randn(settings.batch, 1, *settings.crop, device=on)
    seconds = []
    for _ in range(2):
        began = time.monotonic()
        network(batch).square().mean().backward()
        if on == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.monotonic() - began)
    minutes = 1.2 * seconds[-1] * settings.steps / 60  # cutting and varying crops take their share
    expected = min(minutes, settings.max_minutes or minutes)
    _log.info(
        "fine-tuning on %s: %d steps would take about %.1f minutes; it ends after %.1f.",
        on,
        settings.steps,
        minutes,
        expected,
    )
    return expected
