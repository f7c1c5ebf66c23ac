"""The knobs of adaptation: what is compared, what is annotated, how it is learnt, when to stop."""

from typing import Annotated, Literal

from pydantic import Field

from connectomics.roi import IntTriple
from connectomics.settings import Settings

Strategy = Literal["median-uncertainty", "entropy", "core-set", "run-length", "random"]
Count = Annotated[int, Field(ge=1)]


class RankSettings(Settings):
    """How models are compared with a volume."""

    features: Literal["common", "deepest"] = "common"
    """What is compared: grey values and power spectrum of the image (common), which mean the same for every
    model; or activations of each model's own deepest layer (deepest), less comparable between models."""
    order: Literal["mmd2", "relative"] = "mmd2"
    """What is ranked by: the squared MMD, or the squared MMD over how far a model's own training volumes lie
    from each other, so that a model of more varied images is not held to less."""
    crops: int = Field(default=128, ge=2)
    """Crops of the volume to look at, without overlap while there is room."""
    permutations: int = Field(default=999, ge=99)
    """Regroupings for the p-value; its smallest value is 1 / (permutations + 1)."""
    seed: int = Field(default=0, ge=0)
    """Of where crops are cut, and of the regroupings."""


class SelectSettings(Settings):
    """Which crops are chosen to be annotated."""

    strategy: Strategy = "median-uncertainty"
    """median-uncertainty: crops whose uncertainty is nearest to the median of all; entropy: the most
    uncertain; core-set: crops that look least alike; run-length: where wrong merges and splits cost most run
    length; random."""
    crop: tuple[Count, Count, Count] = (64, 64, 64)
    """Voxels of a crop (z y x), all of which are to be annotated."""
    candidates: int = Field(default=96, ge=1)
    """Crops that are looked at, spread over the region at random."""
    held_out: int = Field(default=0, ge=0)
    """Further crops, drawn at random, that are annotated to score with and never learnt from."""
    background: Literal["true", "unlabelled"] = "true"
    """What 0 will mean in a painted crop: true background, or left out of the loss."""
    seed: int = Field(default=0, ge=0)
    """Of what is drawn."""


class AdaptSettings(Settings):
    """How a model learns the annotated crops."""

    crops: int | None = Field(default=None, ge=1)
    """Learn from the first so many annotated crops alone: for the curve that `adapt plan` reads."""
    steps: int = Field(default=600, ge=1)
    """Optimiser steps at most."""
    minutes: float = Field(default=20.0, gt=0)
    """Minutes at most; the schedule ends within them."""
    lr: float = Field(default=5e-4, gt=0)
    """Learning rate of the last layers; each stage before them learns at 0.6 times that of the next."""
    batch: int = Field(default=2, ge=1)
    """Crops per step."""
    training_crop: IntTriple | None = None
    """Voxels of a training crop (z y x). Default: up to 64 a side, as the crops and the network allow."""
    statistics: int = Field(default=32, ge=0)
    """Batches on which the norms' statistics are measured anew first; 0 keeps the model's."""
    hold_out: float = Field(default=0.2, ge=0, lt=1)
    """Share of each painted crop (its last sections) that is scored on instead of learnt from, where no whole
    crop was kept for that; 0: none, and no score."""
    seed: int = Field(default=0, ge=0)
    """Of everything drawn."""


class PlanSettings(Settings):
    """When more annotation is not worth it."""

    worth: float = Field(default=0.05, gt=0, lt=1)
    """Share of the VOI that doubling the annotation must be expected to take off, for it to be worth it."""
    coverage: float = Field(default=0.8, gt=0, lt=1)
    """Probability that the true value lies in an interval, where scores scatter by 1 to 20%."""
