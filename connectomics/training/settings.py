"""Settings of a training run, as its TOML file declares them."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from connectomics.affinities import parse_offsets
from connectomics.errors import ConnectomicsError
from connectomics.inference.settings import Bytes
from connectomics.networks.contract import Head, NetworkSettings, Normalisation
from connectomics.roi import IntTriple
from connectomics.settings import Settings
from connectomics.training.data_settings import DataSettings, PairData, PhantomData, VolumeData
from connectomics.training.finetune_settings import FinetuneSettings
from connectomics.training.task import check_task
from connectomics.training.translation_settings import TranslationSettings

Share = Annotated[float, Field(ge=0, le=1)]
Voxels = Annotated[int, Field(ge=0)]


class TruthSettings(Settings):
    """What is made of skeletons."""

    method: Literal["points", "tubes", "pseudo"] = "tubes"
    """points: the skeletons alone, for the maximin loss; tubes: dilated, with borders between neighbours;
    pseudo: tubes at first, then what the network itself finds along each skeleton, in rounds."""
    radius: float = Field(default=100.0, gt=0)
    """Radius of a tube, nm: surely inside every traced axon."""
    reach: float = Field(default=1000.0, gt=0)
    """How far from a skeleton borders to its neighbours are looked for, nm."""
    painted_share: Share | None = None
    """Share of a volume's crops that are centred in its painted part, where it has both. Default: the share
    of its voxels that is painted, from a tenth to a half: a small cube seen often is learnt by heart."""
    rounds: int = Field(default=3, ge=1)
    """pseudo: how often the labels are made anew, at equal distances."""
    certainty: Share = 0.7
    """pseudo: voxels that the network connects to their own object by less stay unknown; 0: whole fragments
    take a name, with the myelin and borders in them."""
    shares: tuple[Share, Share] = (0.3, 0.8)
    """pseudo: share of the skeleton crops with the network's labels, after the first round and the last."""


class TargetSettings(Settings):
    """What the network learns to say."""

    detector: bool = False
    """Learn where objects are, in place of affinities: a detector for a coarse level of a cascade."""
    offsets: tuple[IntTriple, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    """Affinity offsets, voxels zyx, the nearest neighbours first."""
    lsd: bool = True
    """Learn local shape descriptors beside the affinities (training only)."""
    lsd_sigma: float = Field(default=80.0, gt=0)
    """Gaussian window of the descriptors, nm."""
    lsd_step: int = Field(default=2, ge=1)
    """Voxels between the points at which descriptors are computed."""
    erosion: int = Field(default=0, ge=0)
    """Voxels by which objects that touch another object are drawn back (to background)."""

    @field_validator("offsets")
    @classmethod
    def _parse(cls, value: tuple[IntTriple, ...]) -> tuple[IntTriple, ...]:
        try:
            return parse_offsets(value)
        except ConnectomicsError as error:
            raise ValueError(str(error)) from None

    def heads(self) -> tuple[Head, ...]:
        """The network's heads, in channel order."""
        if self.detector:
            return (Head(kind="detector"),)
        affinities = Head(kind="affinities", offsets=self.offsets)
        return (affinities, Head(kind="lsd", auxiliary=True)) if self.lsd else (affinities,)


class LossSettings(Settings):
    """How far from the truth a prediction is."""

    balance: float = Field(default=1.0, ge=0, le=1)
    """1: both classes weigh the same in each affinity channel; 0: every voxel weighs the same."""
    dice: float = Field(default=0.0, ge=0)
    """Weight of a soft Dice loss on what is not connected."""
    lsd: float = Field(default=2.0, ge=0)
    """Weight of the descriptors' squared error."""
    cldice: float = Field(default=0.0, ge=0)
    """Weight of centreline Dice (MONAI) on the inside of objects, for tubes."""
    maximin: float = Field(default=0.0, ge=0)
    """Weight of the maximin loss: pairs of voxels, by the weakest link of the best path between them."""


class OptimiserSettings(Settings):
    """AdamW, warm-up, cosine to the end."""

    lr: float = Field(default=1e-3, gt=0)
    """Largest learning rate."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Decoupled weight decay."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of the run over which the rate rises."""
    clip: float = Field(default=1.0, gt=0)
    """Norm to which gradients are clipped."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the averaged weights, which are what is exported."""


class AugmentSettings(Settings):
    """How crops are varied; probabilities are per crop."""

    flips: bool = True
    """Mirror and turn by 90 degrees along axes of one voxel size."""
    rotate: float = Field(default=0.5, ge=0, le=1)
    """Probability of a turn by any angle, with a scaling."""
    scale: float = Field(default=0.15, ge=0, lt=0.9)
    """Largest relative change of size."""
    elastic: float = Field(default=0.3, ge=0, le=1)
    """Probability of an elastic deformation."""
    elastic_sigma: float = Field(default=2.0, ge=0)
    """Displacement, voxels (standard deviation at points 24 voxels apart)."""
    contrast: float = Field(default=0.25, ge=0, lt=1)
    """Largest relative change of contrast."""
    brightness: float = Field(default=0.25, ge=0)
    """Largest shift of brightness, standard deviations."""
    gamma: float = Field(default=0.25, ge=0, lt=1)
    """Largest change of the exponent of grey values."""
    noise: float = Field(default=0.3, ge=0)
    """Largest standard deviation of added noise, standard deviations of the image."""
    blur: float = Field(default=1.0, ge=0)
    """Largest Gaussian blur, voxels."""
    sections: float = Field(default=0.0, ge=0, le=1)
    """Probability of bad sections across z: missing, dark or shifted by a voxel or two (EM)."""
    rings: float = Field(default=0.0, ge=0, le=1)
    """Probability of ring and streak artefacts (X-ray)."""
    cytoplasm: float = Field(default=0.0, ge=0, le=1)
    """Share of objects made darker or brighter inside, but not at borders: dark cells are rare."""


class ValidationSettings(Settings):
    """What a model is chosen on."""

    volumes: tuple[VolumeData, ...] = ()
    """Labelled volumes."""
    pairs: tuple[PairData, ...] = ()
    """Pairs of volumes: a translation is scored, and its uncertainty calibrated, on them."""
    phantoms: tuple[PhantomData, ...] = ()
    """Generated volumes."""
    calibration_phantoms: tuple[PhantomData, ...] = ()
    """Generated volumes that the uncertainty is calibrated on; by default the same."""
    every: int = Field(default=500, ge=1)
    """Steps between validations; there is one at the end in any case."""
    segmentation: dict[str, Any] = Field(default_factory=dict)
    """Segmentation settings to validate with (those of the contract, too)."""
    thresholds: tuple[Share, ...] = Field(default=(0.3, 0.4, 0.5, 0.6, 0.7), min_length=1)
    """Agglomeration thresholds to try; the best goes into the contract."""


class MiningSettings(Settings):
    """How often crops come from where the network errs, on its own training volumes."""

    share: float = Field(default=0.0, ge=0, le=1)
    """Share of a volume's crops centred near errors of the last look, by what they cost; 0: no looks."""
    every: int = Field(default=250, ge=1)
    """Steps between looks."""
    boxes: int = Field(default=1, ge=1)
    """Boxes predicted and segmented at a look, of volumes drawn as crops are."""
    edge: int = Field(default=128, ge=16)
    """Edge of a box, voxels."""


class ExportSettings(Settings):
    """What the contract will say."""

    name: str
    """The model's name."""
    description: str = ""
    """What it is for, in a sentence."""
    data: str = ""
    """What it was fitted to."""
    licence: str = ""
    """Licence of the weights."""
    attribution: str = ""
    """Whom to name when using it."""
    margin: tuple[Voxels, Voxels, Voxels] = (24, 24, 24)
    """Voxels of context that prediction cuts from each side of a tile."""
    half_precision: bool = True
    """Store the weights as float16."""
    features: int = Field(default=256, ge=0)
    """Crops of the training volumes whose features are stored with the model, for `adapt rank`; 0: none."""


class TrainSettings(Settings):
    """A training run; the same settings give the same model, but for max_minutes and rounding."""

    start_from: str | None = None
    """What this run starts from: the folder of an earlier run of the same network (its averaged weights), or
    a model of its architecture, by folder or name."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything drawn."""
    members: int = Field(default=1, ge=1)
    """Networks of a deep ensemble, trained one after the other with consecutive seeds (translation)."""
    steps: int = Field(ge=1)
    """Optimiser steps."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Finish the schedule within this time, even with fewer steps."""
    crop: IntTriple = (96, 96, 96)
    """Voxels of a training crop, z y x, multiples of the network's divisor; with memory, its proportions."""
    memory: Bytes | None = None
    """Take the largest crop with which a step fits, such as 8GB: of the process, on CUDA of the GPU."""
    batch: int = Field(default=8, ge=1)
    """Crops per step and device."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """auto: bfloat16 where CUDA has it, else float32. On a CPU with instructions for it, bf16 takes a quarter
    to a third of the time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes every CUDA device there is."""
    compile: bool = False
    """Compile the network first (about a minute; pays on long runs on CUDA)."""
    channels_last: bool = True
    """Keep channels innermost in memory, which tensor cores like; only rounding differs."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints to resume from."""
    log_every: int = Field(default=50, ge=1)
    """Steps between rows of metrics.csv."""
    data: DataSettings
    """What it is fitted to."""
    truth: TruthSettings = TruthSettings()
    """What is made of skeletons."""
    network: NetworkSettings = NetworkSettings()
    """The architecture."""
    targets: TargetSettings = TargetSettings()
    """What it learns."""
    loss: LossSettings = LossSettings()
    """How it is judged."""
    translation: TranslationSettings | None = None
    """Learn to turn the input into the target of pairs (or phantoms' X-ray into EM), judged like this."""
    finetune: FinetuneSettings | None = None
    """Adapt the network that it starts from, in place of training it whole at one rate."""
    optimiser: OptimiserSettings = OptimiserSettings()
    """How it learns."""
    augment: AugmentSettings = AugmentSettings()
    """How crops are varied."""
    mining: MiningSettings = MiningSettings()
    """How often its errors are seen again."""
    validation: ValidationSettings = ValidationSettings()
    """What it is chosen on."""
    export: ExportSettings
    """What its contract says."""

    @model_validator(mode="after")
    def _is_one_task(self) -> "TrainSettings":
        check_task(self)
        return self

    def has_skeletons(self) -> bool:
        """True where anything is learnt from skeletons, as far as the settings tell."""
        data = self.data
        traced = (*(v.skeletons for v in data.volumes), *(p.skeletons for p in data.phantoms))
        return bool(data.annotations) or any(traced)

    def heads(self) -> tuple[Head, ...]:
        """The network's heads, in channel order."""
        return self.translation.heads() if self.translation else self.targets.heads()


def normalisation_of(settings: DataSettings, mean: float, std: float) -> Normalisation:
    """The contract's normalisation, given the training data's mean and standard deviation."""
    return Normalisation(kind=settings.normalisation, mean=mean, std=std)
