"""The commands of adaptation on volumes: rank models, cut crops to annotate, fine-tune, plan."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connectomics.adaptation.settings import AdaptSettings, PlanSettings, RankSettings, SelectSettings
from connectomics.blockwise.progress import Progress
from connectomics.errors import InputError, OutputExistsError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.checks import check_image
from connectomics.io.opening import open_volume
from connectomics.networks.models import check_task, find_model, list_models
from connectomics.pipeline.input import open_input
from connectomics.pipeline.region import select_region
from connectomics.pipeline.settings import RegionSettings
from connectomics.roi import Roi, triple

_log = logging.getLogger(__name__)

Report = dict[str, Any]


def rank(
    location: str,
    names: Sequence[str],
    settings: RankSettings,
    region: RegionSettings,
    inference: InferenceSettings,
    progress: Progress,
    scores: Path | None = None,
) -> Report:
    """Rank models by how well they fit a volume; see `adaptation.rank.rank_models`.

    Parameters
    ----------
    location
        The volume.
    names
        Models; none means every shipped model that segments.
    settings, region, inference
        What is compared, where, and where networks run.
    progress
        Told of the models.
    scores
        JSON of how well the models did on each other's data; see `adaptation.scores.read_scores`.

    Raises
    ------
    InputError
        No such volume, model or scores, nothing to compare, or no model that can be compared.
    """
    from connectomics.adaptation.rank import rank_models
    from connectomics.adaptation.scores import read_scores

    known = read_scores(scores) if scores else []
    models = [find_model(name) for name in names]
    if not models:
        models = [model for model in list_models() if model.contract.task == "affinities"]
    part = select_region(open_volume(location, region.voxel_size), region)
    size = [n * v for n, v in zip(part.shape, part.volume.voxel_size, strict=True)]
    volume = part.volume.crop(Roi(part.offset, triple(size)))
    check_image(volume)
    device = _device(inference) if settings.features == "deepest" else "cpu"
    report = rank_models(volume, models, settings, device, progress, known)
    if not report["ranking"]:
        reasons = "; ".join(f"{row['model']}: {row['reason']}" for row in report["not_ranked"])
        raise InputError(f"adapt rank: no model can be compared with {volume.name}. {reasons}")
    return report


def _device(inference: InferenceSettings) -> str:
    from connectomics.inference.choice import choose

    return choose(inference).device


def select(
    location: str,
    model_name: str,
    count: int,
    folder: Path,
    settings: SelectSettings,
    *,
    region: RegionSettings,
    inference: InferenceSettings,
    rescale: bool,
    exclude: Sequence[Path],
    progress: Progress,
) -> Report:
    """Choose crops of a volume to annotate and write them to a folder.

    Parameters
    ----------
    location, model_name
        The volume, and the model whose proposals are to be corrected.
    count
        How many crops.
    folder
        To write; must not be there.
    settings
        How they are chosen.
    region, inference, rescale
        As of `connectomics predict`.
    exclude
        Folders written before: no crop overlaps theirs.
    progress
        Told of the candidates.

    Raises
    ------
    InputError
        Anything that does not fit; nothing is written then.
    """
    from connectomics.adaptation.candidates import Surveyor, choose, find_candidates
    from connectomics.adaptation.todo import check_free, taken_boxes, write_todo
    from connectomics.training.annotations import read_todo

    if count < 1:
        raise InputError(f"-n {count}: must be 1 at least.")
    check_free(folder)
    check_task(find_model(model_name), translates=False)
    given = open_input(location, model_name, region, rescale)
    if not given.model.contract.offsets:
        raise InputError(f"model '{given.model.contract.name}': is a detector; it proposes no objects.")
    volume = given.region.volume
    taken = taken_boxes([read_todo(one) for one in exclude], volume)
    surveyor = Surveyor(volume, given.model, settings.crop, inference)
    wanted, scale = count + settings.held_out, surveyor.spread
    corners = find_candidates(volume, given.region.box, settings, scale, taken, wanted)
    chosen = choose(surveyor, corners, count, settings, progress)
    todo = write_todo(folder, surveyor, chosen, settings, location)
    return {
        "output": str(folder),
        "strategy": settings.strategy,
        "candidates": len(corners),
        "crops": [crop.model_dump(mode="json") for crop in todo.crops],
    }


def finetune(
    model_name: str,
    annotations: Path,
    output: Path,
    settings: AdaptSettings,
    *,
    validation: Path | None,
    label_free: bool,
    device: str,
) -> Report:
    """Fine-tune a model to annotated crops, or without labels; see `adaptation.finetune.finetune`."""
    model = find_model(model_name)
    if not label_free:
        from connectomics.adaptation.finetune import finetune as run

        return run(model, annotations, output, settings, validation, device)
    from connectomics.adaptation.label_free import renewed_model
    from connectomics.training.annotations import check_voxel_size, read_todo

    check_task(model, translates=False)
    todo = read_todo(annotations)
    check_voxel_size(todo, model.contract.voxel_size, str(annotations))
    if (output / "settings.json").exists() or (output / "model").exists():
        raise OutputExistsError(f"{output}: holds a run already. Choose another --output.")
    return {"model": str(renewed_model(model, annotations, todo, output / "model")), "cubes": 0, "scores": {}}


def plan(folders: Sequence[Path], settings: PlanSettings, picture: Path | None = None) -> Report:
    """What more annotation would buy, from what runs of `finetune` left; drawn, if a picture is named."""
    from connectomics.adaptation.plan import plan as make_plan
    from connectomics.adaptation.plan_picture import check_picture, save_plan
    from connectomics.adaptation.runs import read_runs

    if picture is not None:
        check_picture(picture)
    cubes, scores = read_runs(folders)
    report = make_plan(cubes, scores, settings)
    if picture is not None:
        save_plan(picture, cubes, scores, settings)
    return report
