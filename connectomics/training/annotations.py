"""Folders of crops to annotate: their to-do list, and those that are annotated as training data."""

import json
import logging
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from connectomics.errors import InputError, SettingsError
from connectomics.io.opening import open_volume
from connectomics.roi import IntTriple, Triple
from connectomics.settings import Settings
from connectomics.training.data_settings import Background, Modality, VolumeData
from connectomics.training.settings import TrainSettings

_log = logging.getLogger(__name__)

TODO = "todo.json"
RECIPE = "train.toml"

PARTLY = 0.75
"""A crop in which less than this share of what the model proposed is painted counts as painted in part, until
it is marked as done."""


class Crop(Settings):
    """One crop to annotate; paths are relative to the folder."""

    name: str
    """What to call it."""
    raw: str
    """The image, with context around the crop."""
    proposal: str
    """What the model makes of the crop: labels to be corrected."""
    annotation: str
    """Labels to be painted, empty at first: as long as they are empty nothing is learnt from the crop."""
    skeletons: str
    """Folder for SWC files, in nm of the volume's own frame; it need not be there."""
    offset: Triple
    """Low corner of the crop, nm, zyx."""
    shape: IntTriple
    """Voxels of the crop, zyx, without context."""
    score: float
    """What the strategy thought of it; the larger, the sooner it is worth annotating."""
    proposed: float = Field(ge=0, le=1)
    """Share of the crop that the proposal labels."""
    use: Literal["fit", "validation"] = "fit"
    """Whether it is learnt from, or kept to score with."""
    done: bool = False
    """Set it where all of the crop is painted, for crops that hold few objects or none: then no doubt is left
    what 0 means in it."""

    @field_validator("raw", "proposal", "annotation", "skeletons")
    @classmethod
    def _inside(cls, value: str) -> str:
        if Path(value).is_absolute() or ".." in Path(value).parts:
            raise ValueError("must be a path inside the folder")
        return value


class TodoList(Settings):
    """What `adapt select` wrote: the crops to annotate, in the order of their worth."""

    format: Literal["connectomics annotations 1"] = "connectomics annotations 1"
    """Of this file."""
    volume: str
    """Where the crops were cut from."""
    model: str
    """Whose proposals these are."""
    strategy: str
    """How they were chosen."""
    voxel_size: Triple
    """nm, zyx."""
    modality: Modality
    """Kind of image, as the model's."""
    mean: float
    """Grey values are normalised by this mean, of the whole volume,"""
    std: float = Field(gt=0)
    """and this standard deviation."""
    background: Background = "true"
    """What 0 means in a painted crop: true background, or unlabelled. In a crop that seems to be painted only
    in part (by the share that the proposal labels), and is not marked as done, it counts as unlabelled."""
    crops: tuple[Crop, ...] = Field(min_length=1)
    """What to annotate."""


@dataclass(frozen=True)
class Annotated:
    """What is done of a folder: volumes to learn from and to score with; `digest` tells its state."""

    fit: tuple[VolumeData, ...]
    validation: tuple[VolumeData, ...]
    todo: TodoList
    left: tuple[str, ...]
    digest: str = ""


def read_todo(folder: Path) -> TodoList:
    """Read a folder's to-do list.

    Raises
    ------
    InputError
        The folder is none of `adapt select`.
    SettingsError
        The list is damaged.
    """
    path = folder / TODO
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder}: has no {TODO}; name a folder that 'connectomics adapt select' wrote."
        ) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}.") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected a JSON object, got {type(values).__name__}.")
    return TodoList.parse(values, str(path))


def annotated_volumes(folder: Path, within: str = "", limit: int | None = None) -> Annotated:
    """The crops of a folder that are annotated, as volumes of a recipe.

    Parameters
    ----------
    folder
        What `adapt select` wrote, annotated in part or wholly.
    within
        What to put before the paths: the folder, relative to the recipe's root.
    limit
        Learn from the first so many alone.

    Raises
    ------
    InputError
        No such folder.
    """
    todo = read_todo(folder)
    fit: list[VolumeData] = []
    validation: list[VolumeData] = []
    left: list[str] = []
    for crop in todo.crops:
        found = _volume(folder, within, crop, todo)
        if found is None or (crop.use == "validation" and found.labels is None):
            left.append(crop.name)
        elif crop.use == "validation":
            validation.append(found.model_copy(update={"skeletons": None, "score_region": None}))
        elif limit is None or len(fit) < limit:
            fit.append(found)
    return Annotated(tuple(fit), tuple(validation), todo, tuple(left), digest(folder, todo))


def digest(folder: Path, todo: TodoList) -> str:
    """What is painted and traced by now, as a short text: another when anything of it has changed."""
    known = sha256()
    for crop in todo.crops:
        known.update(open_volume(folder / crop.annotation, todo.voxel_size).read().tobytes())
        traced = folder / crop.skeletons
        for path in sorted(traced.glob("*")) if traced.is_dir() else ():
            known.update(path.name.encode() + path.read_bytes())
    return known.hexdigest()[:12]


def _volume(folder: Path, within: str, crop: Crop, todo: TodoList) -> VolumeData | None:
    """The crop as a volume; None while nothing is annotated."""
    painted = open_volume(folder / crop.annotation, todo.voxel_size)
    share = float(np.count_nonzero(painted.read())) / float(np.prod(painted.shape))
    traced = folder / crop.skeletons
    has_skeletons = traced.is_dir() and any(one.suffix.lower() == ".swc" for one in traced.iterdir())
    background = todo.background
    counts = share > 0 or (crop.done and background == "true" and crop.use == "fit")
    if not counts and not has_skeletons:
        return None
    if background == "true" and 0 < share < PARTLY * crop.proposed and not crop.done:
        background = "unlabelled"
        _log.warning(
            "%s: %.0f%% painted where the model proposed %.0f%%: taken as painted in part, 0 as unlabelled. "
            "If all of it is painted, set its 'done' to true in todo.json.",
            crop.name,
            100 * share,
            100 * crop.proposed,
        )
    return VolumeData(
        raw=str(Path(within) / crop.raw),
        labels=str(Path(within) / crop.annotation) if counts else None,
        skeletons=str(Path(within) / crop.skeletons) if has_skeletons else None,
        background=background,
        moments=(todo.mean, todo.std),
    )


def with_annotations(settings: TrainSettings) -> TrainSettings:
    """The settings with every annotated crop of `data.annotations` among the volumes, named one by one.

    Which crops a run learns from is thus part of its settings: once more are annotated, it is another run.

    Raises
    ------
    InputError
        A folder is missing, or nothing is annotated in any.
    SettingsError
        Its crops have another voxel size.
    """
    data = settings.data
    if not data.annotations:
        return settings
    fit, validation = list(data.volumes), list(settings.validation.volumes)
    for name in data.annotations:
        found = annotated_volumes(Path(data.root) / name, name)
        check_voxel_size(found.todo, data.voxel_size, name)
        fit += found.fit
        validation += found.validation
        if found.left:
            _log.info("%s: not annotated yet: %s.", name, ", ".join(found.left))
    if not fit and not data.phantoms:
        raise InputError(nothing_annotated(", ".join(str(Path(data.root) / n) for n in data.annotations)))
    return settings.model_copy(
        update={
            "data": data.model_copy(update={"volumes": tuple(fit), "annotations": ()}),
            "validation": settings.validation.model_copy(update={"volumes": tuple(validation)}),
        }
    )


def check_voxel_size(todo: TodoList, voxel_size: Triple, name: str) -> None:
    """Refuse crops of another voxel size."""
    pairs = zip(todo.voxel_size, voxel_size, strict=True)
    if any(abs(a / b - 1) > 0.1 for a, b in pairs):
        raise SettingsError(
            f"{name}: crops of {todo.voxel_size} nm, but data.voxel_size is {voxel_size}; choose crops with "
            "'adapt select --rescale', or set it."
        )


def nothing_annotated(name: str) -> str:
    """What to say where no crop is done."""
    return (
        f"{name}: no crop to learn from is annotated yet. Paint labels into a crop's labels/annotation (or "
        f"put SWC files into its .skeletons folder), and run the same again."
    )


def recipe_values(config: Path, values: dict[str, object]) -> dict[str, object]:
    """A recipe's values; that of a folder of annotations means its own folder, wherever that lies now."""
    data = values.get("data")
    if (config.parent / TODO).exists() and isinstance(data, dict) and "root" not in data:
        return values | {"data": {"root": str(config.parent), **data}}
    return values
