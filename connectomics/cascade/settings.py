"""Settings of a calibration, and the cascade file that comes of it."""

import itertools
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from connectomics.errors import InputError, SettingsError, did_you_mean
from connectomics.settings import Settings

Share = Annotated[float, Field(gt=0, lt=1)]
Edge = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0)]
Edges = tuple[Edge, Edge, Edge]
Lengths = tuple[Length, Length, Length]
Classical = Literal["dark", "bright", "variance"]


class Detector(Settings):
    """What looks at the chunks of one pyramid level and gives each a score."""

    level: int = Field(ge=1, le=12)
    """Pyramid level; each halves the voxels along every axis (anisotropic ones first towards isotropic)."""
    method: Classical | Literal["model"] = "dark"
    """dark, bright: how far the darkest or brightest voxels lie from the volume's mean; variance: the largest
    local standard deviation; model: the highest output of a network with a detector head."""
    model: str | None = None
    """For method model: name or folder."""
    smooth: float = Field(default=1.0, ge=0, le=8)
    """Gaussian smoothing before anything is measured, voxels of the level."""
    share: float = Field(default=0.005, gt=0, le=0.5)
    """dark, bright: share of a chunk's voxels that may lie beyond its score: no single voxel decides."""

    @model_validator(mode="after")
    def _model_where_one_is_needed(self) -> "Detector":
        if (self.method == "model") != (self.model is not None):
            raise ValueError("give model with method 'model', and with no other")
        return self


class Promise(Settings):
    """What thresholds must keep."""

    recall: Share = 0.95
    """Share of all objects that are kept, at the least."""
    confidence: Share = 0.9
    """Probability, over the drawing of the calibration volumes, that this holds."""
    coverage: float = Field(default=1.0, gt=0, le=1)
    """An object is kept where this share of the chunks that it lies in passes every level."""
    unit: Literal["object", "volume"] = "object"
    """What counts as one independent draw: each object, or one object of each volume. Where the objects of a
    volume stand or fall together, only volumes keep the promise; it takes as many of them as else objects."""


class LabelledVolume(Settings):
    """A volume whose objects are labelled everywhere."""

    raw: str
    """Image with a pyramid, or without one: then coarse levels are averaged from it."""
    labels: str
    """Labels on the same voxels, 0 = nothing."""


class SparsePhantoms(Settings):
    """Phantoms with the objects in a share of the chunks."""

    first_seed: int = Field(default=0, ge=0)
    """Seed of the first."""
    count: int = Field(default=4, ge=1)
    """How many, with consecutive seeds; those without an object count for nothing."""
    shape: Edges = (256, 256, 256)
    """Voxels of each, z y x."""
    density: float = Field(default=0.05, gt=0, le=1)
    """Share of the chunks that any axon touches."""
    difficulty: Literal["easy", "medium", "hard"] = "medium"
    """How noisy."""


class CalibrationSettings(Settings):
    """A calibration: detectors, promise, labelled volumes."""

    name: str
    """The cascade's name."""
    description: str = ""
    """What it is for, in a sentence."""
    modality: Literal["xray", "em"] = "xray"
    """Kind of image."""
    voxel_size: Lengths
    """nm, zyx, at the finest level."""
    chunk: Edges = (32, 32, 32)
    """Voxels of a chunk, at every level, z y x: at level k it covers 2^k times as much along each axis."""
    fine_model: str | None = None
    """Model that runs at the finest level: its time a chunk is measured. Else give fine_seconds."""
    fine_seconds: float | None = Field(default=None, gt=0)
    """Seconds that the finest level takes for a chunk in a cascade, context included."""
    dense_seconds: float | None = Field(default=None, gt=0)
    """Seconds that it takes for a chunk where everything is computed. Default: fine_seconds."""
    levels: tuple[Detector, ...] = Field(min_length=1)
    """The coarse levels, in any order."""
    promise: Promise = Promise()
    """What the thresholds must keep."""
    root: str = "."
    """Folder that the volumes' paths are relative to."""
    volumes: tuple[LabelledVolume, ...] = ()
    """Labelled volumes."""
    phantoms: tuple[SparsePhantoms, ...] = ()
    """Generated ones."""
    design_share: Share = 0.34
    """Share of the volumes on which levels are weighed; the promise is tested on the rest."""

    @field_validator("levels")
    @classmethod
    def _one_detector_a_level(cls, value: tuple[Detector, ...]) -> tuple[Detector, ...]:
        ordered = tuple(sorted(value, key=lambda one: one.level))
        if len({one.level for one in ordered}) < len(ordered):
            raise ValueError("two detectors are at the same level")
        return ordered

    @model_validator(mode="after")
    def _fine_cost_is_known(self) -> "CalibrationSettings":
        if (self.fine_model is None) == (self.fine_seconds is None):
            raise ValueError("give fine_model or fine_seconds")
        return self


class CascadeLevel(Settings):
    """One coarse level of a calibrated cascade."""

    detector: Detector
    """What looks."""
    threshold: float
    """Chunks with at least this score pass; -inf is written as -1e30."""
    sensitivity: float = Field(ge=0, le=1)
    """Share of the chunks with truth that passed, of those the level was called on in calibration."""
    false_positive_rate: float = Field(ge=0, le=1)
    """Share of the chunks without that passed all the same."""
    seconds: float = Field(ge=0)
    """Time of a call, reading apart."""


class Cascade(Settings):
    """A cascade file: which detectors, at which thresholds, and what is promised of them."""

    name: str
    """Its name."""
    description: str = ""
    """What it is for."""
    modality: Literal["xray", "em"]
    """Kind of image."""
    voxel_size: Lengths
    """nm, zyx, at the finest level."""
    chunk: Edges
    """Voxels of a chunk, at every level."""
    levels: tuple[CascadeLevel, ...] = Field(min_length=1)
    """Coarse levels, the finest first."""
    fine_model: str | None = None
    """Model of the finest level whose time a chunk was measured; a plan measures it again."""
    fine_seconds: float = Field(gt=0)
    """Seconds of the finest level a chunk, context included, where it was calibrated."""
    dense_seconds: float = Field(gt=0)
    """Seconds a chunk where all of a volume is computed, in the tiles that are best for that."""
    fine_bytes: float = Field(default=0.0, ge=0)
    """Peak memory of the finest level, where it was calibrated."""
    promise: Promise
    """What the thresholds keep."""
    objects: int
    """Objects that the promise was tested on, one of each volume where that is the unit."""
    lost: int
    """How many of them the thresholds lost."""

    @field_validator("levels")
    @classmethod
    def _finest_first(cls, value: tuple[CascadeLevel, ...]) -> tuple[CascadeLevel, ...]:
        numbers = [one.detector.level for one in value]
        if any(a >= b for a, b in itertools.pairwise(numbers)):
            raise ValueError(f"must be of different levels, the finest first; got levels {numbers}")
        return value


def read_cascade(name_or_path: str) -> Cascade:
    """Read a cascade file, or the shipped cascade of that name.

    Raises
    ------
    InputError
        There is none; the message names those that are shipped.
    SettingsError
        It is no cascade file.
    """
    path = Path(name_or_path)
    shipped = shipped_cascades()
    if not path.is_file():
        if name_or_path not in shipped:
            near = did_you_mean(name_or_path, shipped)
            raise InputError(f"--cascade {name_or_path}: no such file or shipped cascade.{near}")
        path = shipped[name_or_path]
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as a cascade file: {error}.") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected a JSON object, got {type(values).__name__}.")
    return Cascade.parse(values, str(path))


def shipped_cascades() -> dict[str, Path]:
    """Cascades that come with the package, by name."""
    from connectomics.networks.models import shipped_folders

    found: dict[str, Path] = {}
    for folder in shipped_folders():
        for path in sorted(folder.glob("*.cascade.json")):
            found.setdefault(path.name.removesuffix(".cascade.json"), path)
    return found
