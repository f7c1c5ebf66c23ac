"""The commands of a cascade: calibrate one from a TOML file, and plan a run with it."""

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from connectomics.blockwise.progress import Progress
from connectomics.cascade.calibrate import calibrate
from connectomics.cascade.plan import check_voxel_size, decide, plan_cascade
from connectomics.cascade.settings import CalibrationSettings, Cascade, read_cascade
from connectomics.cascade.timing import measured_costs
from connectomics.cascade.tree import ChunkTree, Part
from connectomics.errors import InputError, OutputExistsError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.files import write_atomically
from connectomics.io.opening import open_volume
from connectomics.io.staging import unwritable
from connectomics.networks.models import find_model
from connectomics.pipeline.region import select_region
from connectomics.pipeline.settings import RegionSettings
from connectomics.settings import read_toml

log = logging.getLogger(__name__)


def calibrate_cascade(
    config: Path, out: Path, overwrite: bool, inference: InferenceSettings, progress: Progress
) -> dict[str, Any]:
    """Write a cascade file.

    Parameters
    ----------
    config
        TOML of `CalibrationSettings`.
    out
        File to write.
    overwrite
        Replace it.
    inference
        How networks run.
    progress
        Told of the volumes.

    Raises
    ------
    OutputExistsError
        The file is there.
    """
    if out.exists() and not overwrite:
        raise OutputExistsError(f"{out}: is there already. Choose another name, or pass --overwrite.")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise OutputExistsError(f"{out}: cannot be written there. Name a file in a folder that can.")
    settings = CalibrationSettings.parse(read_toml(config), str(config))
    found = calibrate(settings, inference, progress)
    values = found.model_dump(mode="json")
    try:
        write_atomically(out, (json.dumps(values, indent=2) + "\n").encode())
    except OSError as error:
        raise unwritable(error, str(out)) or error from None
    return {"output": str(out)} | values


def plan_run(
    location: str,
    region: RegionSettings,
    cascade: str,
    sample: int,
    seed: int,
    inference: InferenceSettings,
    progress: Progress,
) -> dict[str, Any]:
    """What a run would take on this machine; see `connectomics.cascade.plan.plan_cascade`."""
    chosen = read_cascade(cascade)
    part = _part(location, region)
    finest = open_volume(location, region.voxel_size)
    check_voxel_size(chosen, finest.voxel_size, location)
    costs = measured_costs(chosen, inference, ChunkTree(part, finest.shape, chosen, inference))
    plan = plan_cascade(part, chosen, inference, sample=sample, seed=seed, progress=progress, costs=costs)
    return asdict(plan)


def _part(location: str, region: RegionSettings) -> Part:
    box = select_region(open_volume(location, region.voxel_size), region).box
    return Part(location, region.voxel_size, box)


def check_cascade(cascade: Cascade, model: str, rescale: bool) -> None:
    """Refuse a cascade that does not go with a model, or with a resampled input."""
    reads = find_model(model).contract.modality
    if rescale:
        raise InputError(
            "--cascade goes with no --rescale: convert the volume to the model's voxel size first."
        )
    if cascade.modality != reads:
        raise InputError(
            f"--cascade {cascade.name}: is for {cascade.modality} volumes, the model '{model}' for {reads} "
            "volumes. Choose a cascade and a model for one kind of image."
        )


def cascade_for(
    location: str,
    cascade: str | None,
    model: str,
    region: RegionSettings,
    rescale: bool,
    inference: InferenceSettings,
    progress: Progress,
) -> Cascade | None:
    """The cascade that a run should use: none where none is given, or where it would not pay.

    The plan that decides is made from a fixed sample, so that a run that is resumed decides alike.

    Raises
    ------
    InputError
        It was calibrated at another voxel size or for another kind of image, or the input is resampled.
    ModelError
        There is no such model: planning takes a while, and would be for nothing.
    """
    if cascade is None:
        return None
    found = read_cascade(cascade)
    check_cascade(found, model, rescale)
    part = _part(location, region)
    plan = decide(part, found, inference, progress)
    if plan.pays:
        return found
    log.warning(
        "cascade '%s' would not pay here: %.3g s against %.3g s at one level; everything is computed.",
        found.name,
        plan.seconds,
        plan.single_level_seconds,
    )
    return None
