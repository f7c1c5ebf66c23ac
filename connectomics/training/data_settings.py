"""What a model is fitted to, as a recipe declares it: labelled volumes, pairs of volumes, phantoms."""

from typing import Literal

from pydantic import Field, model_validator

from connectomics.phantom.simulate import XraySimulation
from connectomics.roi import IntTriple, Triple
from connectomics.settings import Settings

Range = tuple[int, int]
Background = Literal["true", "unlabelled"]
Modality = Literal["xray", "em"]


class VolumeData(Settings):
    """A labelled volume, or a part of it; nothing outside `region` is ever read."""

    raw: str
    """Image, relative to data.root: a volume such as cube.h5/raw."""
    labels: str | None = None
    """Painted labels on the same voxels, 0 where nobody painted (or background, see `background`);
    -1: unlabelled in any case."""
    skeletons: str | None = None
    """Traced skeletons, relative to data.root: SWC, the XPRESS pickle or npz; nm in the image's frame."""
    region: tuple[Range, Range, Range] | None = None
    """Voxels [first, end) along z, y, x. Default: everything."""
    score_region: tuple[Range, Range, Range] | None = None
    """Validation only: the part of the region that is scored, in the same voxels; the rest is context."""
    proportion: float = Field(default=1.0, gt=0)
    """How often crops come from here, relative to the others."""
    background: Background = "unlabelled"
    """What label 0 is: true background (affinity 0), or unlabelled (left out of the loss)."""
    moments: tuple[float, float] | None = None
    """Mean and standard deviation that grey values are normalised by. Default: those of what is read; a crop
    has those of the volume it was cut from."""

    @model_validator(mode="after")
    def _has_truth(self) -> "VolumeData":
        if self.labels is None and self.skeletons is None:
            raise ValueError(f"{self.raw}: give labels, skeletons or both")
        return self


class PhantomData(Settings):
    """Phantoms, made when a run starts and kept beside it."""

    first_seed: int = Field(default=0, ge=0)
    """Seed of the first one (training 0-999, validation 1000-1099)."""
    count: int = Field(default=16, ge=1)
    """How many, with consecutive seeds."""
    shape: IntTriple = (160, 160, 160)
    """Voxels of each, z y x; of the X-ray, where a translation to EM is learnt."""
    difficulties: tuple[Literal["easy", "medium", "hard"], ...] = Field(default=("medium",), min_length=1)
    """Difficulties, taken in turn."""
    density: float = Field(default=1.0, gt=0, le=1)
    """Share of 32^3-voxel chunks that any axon touches; 1 is packed white matter."""
    proportion: float = Field(default=1.0, gt=0)
    """How often crops come from these, relative to the others."""
    painted: float = Field(default=1.0, ge=0, le=1)
    """Share of the voxels that count as painted: a cube in the middle."""
    skeletons: bool = False
    """Use the skeletons of the axons, too."""
    level: int = Field(default=0, ge=0, le=6)
    """Pyramid level: made at voxels 2^level times finer and averaged; a voxel belongs to an object
    that any of its finer ones belongs to (for detectors)."""

    @model_validator(mode="after")
    def _has_truth(self) -> "PhantomData":
        if self.painted == 0 and not self.skeletons:
            raise ValueError("phantoms without painted voxels need skeletons = true")
        if self.skeletons and self.level > 0:
            raise ValueError("phantoms of a level above 0 have no skeletons")
        return self


class SimulatedInput(XraySimulation):
    """The input of a pair, simulated from its target; the factor is the network's upsampling."""

    count: int = Field(default=1, ge=1)
    """How many X-rays of the same target, with consecutive seeds: noise that never repeats is not learnt."""


class PairData(Settings):
    """An input and the finer image that it is to be turned into; nothing outside `region` is ever read."""

    target: str
    """Image of the other modality, relative to data.root: the network's upsampling times as fine."""
    raw: str | None = None
    """Input, relative to data.root. It is laid over the target by voxel size and offset."""
    simulate: SimulatedInput | None = None
    """Instead of raw: simulate an X-ray of the target."""
    region: tuple[Range, Range, Range] | None = None
    """Input voxels [first, end) along z, y, x. Default: all that the target covers."""
    score_region: tuple[Range, Range, Range] | None = None
    """Validation only: the part of the region that is scored, in the same voxels; the rest is context."""
    proportion: float = Field(default=1.0, gt=0)
    """How often crops come from here, relative to the others."""

    @model_validator(mode="after")
    def _has_one_input(self) -> "PairData":
        if (self.raw is None) == (self.simulate is None):
            raise ValueError(f"{self.target}: give either raw or simulate")
        return self


class DataSettings(Settings):
    """What a model is fitted to."""

    root: str = "."
    """Folder that the volumes' paths are relative to."""
    voxel_size: Triple
    """Voxel size of all volumes, nm zyx; of a translation's input, not of its target."""
    modality: Modality
    """Kind of image."""
    volumes: tuple[VolumeData, ...] = ()
    """Labelled volumes."""
    pairs: tuple[PairData, ...] = ()
    """Pairs of volumes, to learn a translation from."""
    phantoms: tuple[PhantomData, ...] = ()
    """Generated volumes."""
    annotations: tuple[str, ...] = ()
    """Folders of crops that `adapt select` wrote, relative to root: those with an annotation are volumes, too
    (of validation, where their todo.json says so)."""
    normalisation: Literal["fixed", "sampled"] = "sampled"
    """sampled: by each volume's own mean and deviation, as a user's will be; fixed: by those of all."""
    rare_objects: float = Field(default=0.0, ge=0, le=1)
    """Share of crops centred in an object drawn by the root of its size, so that small ones come up too."""
