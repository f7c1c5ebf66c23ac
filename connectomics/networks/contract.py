"""The contract of a model: what its weights are, what they expect, and what their channels mean."""

import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from connectomics.affinities import parse_offsets
from connectomics.errors import ConnectomicsError, ModelError, SettingsError
from connectomics.roi import IntTriple, Triple
from connectomics.settings import Settings

LSD_CHANNELS = 10
"""Channels of a local shape descriptor in 3-D: mean offset (3), covariance (6), size (1)."""

_NUMBERS = re.compile(r"\[[\s\d.,eE+-]+\]")


class NetworkSettings(Settings):
    """Which network, and its parameters as its builder names them."""

    name: str = "DynUNet"
    """Architecture: FoldedUNet, BasicUNet, DynUNet, SegResNet, MedNeXt or ReversibleUNet."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the architecture, such as filters for DynUNet; with upsample also fine_features, the
    channels on the fine grid."""
    upsample: IntTriple = (1, 1, 1)
    """Output voxels per input voxel, zyx: super-resolution inside the network."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of feature channels dropped in training, and in prediction where samples are asked for."""

    @field_validator("upsample")
    @classmethod
    def _whole(cls, value: IntTriple) -> IntTriple:
        if min(value) < 1:
            raise ValueError("must be at least 1 along each axis")
        return value


class Head(Settings):
    """A run of output channels and what they mean."""

    kind: Literal["affinities", "lsd", "intensity", "log_variance", "detector"]
    """Affinities (one channel an offset), local shape descriptors (10 channels), the grey value of another
    modality (standardised by the contract's output_normalisation), the logarithm of its variance, or
    whether a voxel lies in an object (a detector of a cascade)."""
    offsets: tuple[IntTriple, ...] = ()
    """Affinity offsets, voxels zyx; the first three are the nearest neighbours."""
    auxiliary: bool = False
    """Only there to help training; a shipped model does not have it."""

    @model_validator(mode="after")
    def _offsets_fit_kind(self) -> "Head":
        if self.kind == "affinities":
            try:
                parse_offsets(self.offsets)
            except ConnectomicsError as error:
                raise ValueError(str(error)) from None
        elif self.offsets:
            raise ValueError(f"a head of kind '{self.kind}' has no offsets")
        return self

    @property
    def channels(self) -> int:
        """How many channels this head takes."""
        return {"affinities": len(self.offsets), "lsd": LSD_CHANNELS}.get(self.kind, 1)


class Normalisation(Settings):
    """How raw values become the network's input: (raw - mean) / std."""

    kind: Literal["fixed", "sampled"] = "fixed"
    """fixed: mean and std below. sampled: measured once per run on a deterministic sample of the input."""
    mean: float = 0.0
    """Mean of the raw values (of the training data, where the kind is sampled)."""
    std: float = Field(default=1.0, gt=0)
    """Standard deviation of the raw values (of the training data, where the kind is sampled)."""


class TrainingData(Settings):
    """What a model was fitted to."""

    data: str = ""
    """The data set and the part of it that was used."""
    seed: int = 0
    """Seed of the run."""
    recipe: str = ""
    """Name of the recipe, or the command."""
    steps: int = 0
    """Optimiser steps taken."""
    source_model: str = ""
    """The model that it was adapted from: its name and the hash of its weights."""
    annotations: str = ""
    """What was annotated of the volume that it was adapted to."""


class FeatureRecord(Settings):
    """Features of the training crops, kept beside the weights, so that its data need not be."""

    file: str = "features.safetensors"
    """File in the model's folder."""
    layer: str
    """Layer of the network that they are activations of."""
    crop: IntTriple
    """Voxels of a crop, zyx."""
    crops: int = Field(ge=2)
    """How many crops."""
    weights: str
    """Hash of the weights that they were made with."""

    @field_validator("file")
    @classmethod
    def _in_the_folder(cls, value: str) -> str:
        if Path(value).name != value or not value.endswith(".safetensors") or "\\" in value:
            raise ValueError("must be a safetensors file in the model's own folder")
        return value


class UncertaintyScales(Settings):
    """What held-out data made of a translation's uncertainty."""

    aleatoric: float = Field(default=1.0, gt=0)
    """Factor on the network's own standard deviation."""
    epistemic: float = Field(default=1.0, ge=0)
    """Factor on the standard deviation over samples, members and flips."""
    intervals: dict[str, float] = Field(default_factory=dict)
    """Nominal coverage ("0.5", "0.8", ...): half-width of that interval, in total standard deviations."""
    samples: int | None = Field(default=None, ge=1)
    """Passes per tile that it was calibrated with, which prediction takes unless told otherwise."""


class Contract(Settings):
    """Everything needed to run a model, and to know whether one should."""

    name: str
    """The model's name."""
    description: str = ""
    """What it is for, in a sentence."""
    network: NetworkSettings
    """The architecture."""
    in_channels: int = Field(default=1, ge=1)
    """Channels of the input."""
    heads: tuple[Head, ...] = Field(min_length=1)
    """What the output channels mean, in order."""
    voxel_size: Triple
    """Voxel size it was trained at, nm zyx."""
    modality: Literal["xray", "em"]
    """Kind of image it reads."""
    normalisation: Normalisation
    """How raw values become its input."""
    output_normalisation: Normalisation | None = None
    """Translation: grey value = mean + std x the intensity head."""
    output_dtype: Literal["uint8", "uint16", "float32"] = "uint8"
    """Translation: type of the grey values that it was fitted to, and that it is written in."""
    members: int = Field(default=1, ge=1)
    """Networks of a deep ensemble: weights.safetensors, weights-1.safetensors, and so on."""
    margin: IntTriple
    """Voxels of context to cut from each side of a tile."""
    divisor: IntTriple
    """A tile's edges are multiples of this."""
    training: TrainingData = TrainingData()
    """What it was fitted to."""
    licence: str = ""
    """Licence of the weights."""
    attribution: str = ""
    """Whom to name when using it."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Scores on held-out data."""
    segmentation: dict[str, Any] = Field(default_factory=dict)
    """Segmentation settings chosen on validation data."""
    calibration: dict[str, list[float]] | None = None
    """Affinities: what held-out labels made of its uncertainty; the keys are those of
    `connectomics.segmentation.calibration`."""
    uncertainty: UncertaintyScales | None = None
    """Translation: how its uncertainty was calibrated."""
    features: FeatureRecord | None = None
    """What it remembers of its training images, to be compared with others."""

    @field_validator("voxel_size")
    @classmethod
    def _positive(cls, value: Triple) -> Triple:
        if min(value) <= 0:
            raise ValueError("must be positive")
        return value

    @property
    def out_channels(self) -> int:
        """Channels of the network's output."""
        return sum(head.channels for head in self.heads)

    @property
    def translates(self) -> bool:
        """True for a model that turns one modality into another."""
        return any(head.kind == "intensity" for head in self.heads)

    @property
    def task(self) -> Literal["affinities", "translation", "detector"]:
        """What it is for: segmenting, translating, or looking first in a cascade."""
        if self.translates:
            return "translation"
        return "affinities" if self.offsets else "detector"

    @property
    def offsets(self) -> tuple[IntTriple, ...]:
        """Offsets of the affinity channels; empty where there are none."""
        return tuple(offset for head in self.heads for offset in head.offsets)

    def without_auxiliary(self) -> "Contract":
        """The contract of the same model with its auxiliary heads cut off."""
        return self.model_copy(update={"heads": tuple(head for head in self.heads if not head.auxiliary)})


def read_contract(path: Path) -> Contract:
    """Read a contract.json.

    Raises
    ------
    ModelError
        The file is missing, is not JSON, or is not a contract.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ModelError(f"{path}: expected a JSON object, got {type(values).__name__}.")
        return Contract.parse(values, str(path))
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such contract; a model is a folder made by 'connectomics train'."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise ModelError(f"{path}: cannot be read as a contract: {error}.") from None
    except SettingsError as error:
        raise ModelError(str(error)) from None


def write_contract(path: Path, contract: Contract) -> None:
    """Write a contract as indented JSON, each list of numbers on one line."""
    text = json.dumps(contract.model_dump(mode="json"), indent=2, ensure_ascii=False)
    path.write_text(_NUMBERS.sub(_on_one_line, text) + "\n", encoding="utf-8")


def _on_one_line(numbers: re.Match[str]) -> str:
    return f"[{', '.join(number.strip() for number in numbers[0][1:-1].split(','))}]"
