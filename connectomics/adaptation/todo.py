"""The folder that an annotator works through: crops, proposals, empty labels, a to-do list, a recipe."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from connectomics.adaptation.candidates import Candidate, Surveyor
from connectomics.adaptation.rank import model_name
from connectomics.adaptation.recipe import recipe_for
from connectomics.adaptation.settings import AdaptSettings, SelectSettings
from connectomics.errors import OutputExistsError
from connectomics.inference.crop_places import Box
from connectomics.io.files import write_json
from connectomics.io.ome_zarr import create_array
from connectomics.io.staging import appearing
from connectomics.io.volume import Volume
from connectomics.roi import triple
from connectomics.training.annotations import RECIPE, TODO, Crop, TodoList

_CHUNK = 64

_ROUNDING = 1e-6
"""Voxels by which a crop's place in nm may miss a voxel's edge."""


def check_free(folder: Path) -> None:
    """Refuse a folder in which something is: hours of annotation may be.

    Raises
    ------
    OutputExistsError
        It is there and not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputExistsError(
            f"{folder}: exists already, perhaps with annotations in it; nothing was touched. Choose another "
            "folder, and name this one with --exclude to get other crops."
        )


def write_todo(
    folder: Path, surveyor: Surveyor, chosen: Sequence[Candidate], settings: SelectSettings, location: str
) -> TodoList:
    """Write the folder; it appears whole or not at all.

    Of each crop: ``NAME.zarr/raw`` with context, ``NAME.zarr/labels/proposal``, and
    ``NAME.zarr/labels/annotation``, empty; beside them ``todo.json`` and ``train.toml``.
    """
    contract = surveyor.model.contract
    with appearing(folder) as staged:
        staged.mkdir()
        width = max(2, len(str(len(chosen))))
        crops = [
            _write_crop(staged, f"crop-{number:0{width}d}", surveyor, candidate)
            for number, candidate in enumerate(chosen, 1)
        ]
        todo = TodoList(
            volume=location,
            model=model_name(surveyor.model),
            strategy=settings.strategy,
            voxel_size=surveyor.volume.voxel_size,
            modality=contract.modality,
            mean=surveyor.affine.mean,
            std=surveyor.affine.std,
            background=settings.background,
            crops=tuple(crops),
        )
        write_json(staged / TODO, todo.model_dump(mode="json"))
        values = recipe_for(surveyor.model, surveyor.crop, todo.voxel_size, AdaptSettings())
        values["data"]["annotations"] = ["."]
        header = (
            "# Fine-tunes the model that proposed these crops on those that are annotated:\n"
            "#   connectomics train THIS-FOLDER --output RUN\n"
            "# 'connectomics adapt finetune' does the same, and keeps what 'adapt plan' reads.\n"
        )
        (staged / RECIPE).write_text(header + to_toml(values), encoding="utf-8")
    return todo


def _write_crop(folder: Path, name: str, surveyor: Surveyor, candidate: Candidate) -> Crop:
    volume, path = surveyor.volume, folder / f"{name}.zarr"
    outer = surveyor.with_context(candidate.corner)
    offset = _place(volume, candidate.corner)
    _write(path, "raw", volume.read_box(outer), volume, [s.start for s in outer])
    proposal = surveyor.proposal(candidate.corner).astype(np.uint32)
    _write(path, "labels/proposal", proposal, volume, candidate.corner)
    _write(path, "labels/annotation", np.zeros_like(proposal), volume, candidate.corner)
    return Crop(
        name=name,
        raw=f"{name}.zarr/raw",
        proposal=f"{name}.zarr/labels/proposal",
        annotation=f"{name}.zarr/labels/annotation",
        skeletons=f"{name}.skeletons",
        offset=offset,
        shape=surveyor.crop,
        score=candidate.score,
        proposed=float(np.count_nonzero(proposal)) / proposal.size,
        use="validation" if candidate.use == "validation" else "fit",
    )


def _place(volume: Volume, corner: Sequence[int]) -> tuple[float, float, float]:
    return triple([o + a * v for o, a, v in zip(volume.offset, corner, volume.voxel_size, strict=True)])


def _write(path: Path, name: str, values: Any, volume: Volume, corner: Sequence[int]) -> None:
    array = create_array(
        path,
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=tuple(min(_CHUNK, n) for n in values.shape),
        voxel_size=volume.voxel_size,
        offset=_place(volume, corner),
        kind="label" if name.startswith("labels") else "image",
    )
    array.write_box((slice(None), slice(None), slice(None)), values)


def taken_boxes(folders: Sequence[TodoList], volume: Volume) -> list[Box]:
    """Where the crops of other to-do lists lie, in voxels of a volume, rounded outwards."""
    boxes: list[Box] = []
    for todo in folders:
        for crop in todo.crops:
            size = [n * v for n, v in zip(crop.shape, todo.voxel_size, strict=True)]
            spans = zip(crop.offset, size, volume.offset, volume.voxel_size, strict=True)
            z, y, x = (_outwards((a - o) / v, (a + s - o) / v) for a, s, o, v in spans)
            boxes.append((z, y, x))
    return boxes


def _outwards(low: float, high: float) -> slice:
    """Whole voxels around a span that is known to rounding."""
    return slice(math.floor(low + _ROUNDING), math.ceil(high - _ROUNDING))


def to_toml(values: Mapping[str, Any]) -> str:
    """Plain values as TOML: numbers, text, lists, and tables within tables.

    Examples
    --------
    >>> print(to_toml({"a": 1, "b": {"c": [1, 2], "d": {"e": "f"}}}), end="")
    a = 1
    <BLANKLINE>
    [b]
    c = [1, 2]
    d = { e = "f" }
    """
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {_inline(value)}" for key, value in plain.items()]
    for key, table in tables.items():
        lines += ["", f"[{key}]", *(f"{name} = {_inline(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_inline(one)}" for key, one in value.items())
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)
