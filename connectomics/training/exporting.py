"""What a run's contract says: the data's grey values, scores, settings chosen, calibration."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from connectomics.networks.build import divisor_of
from connectomics.networks.contract import Contract, Normalisation, TrainingData
from connectomics.training.settings import TrainSettings


def pooled(moments: Sequence[tuple[float, float]], weights: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation over several volumes, each weighing by its share of the crops."""
    means = np.array([mean for mean, _ in moments])
    squares = np.array([std**2 + mean**2 for mean, std in moments])
    mean = float(np.average(means, weights=weights))
    return mean, float(np.sqrt(np.average(squares, weights=weights) - mean**2))


def make_contract(
    settings: TrainSettings,
    moments: tuple[float, float],
    scores: dict[str, float],
    steps: int,
    **more: Any,
) -> Contract:
    """The contract of a trained network, its auxiliary heads included; `more` are further fields."""
    export, data = settings.export, settings.data
    segmentation = dict(settings.validation.segmentation)
    if "threshold" in scores:
        segmentation["threshold"] = scores["threshold"]
    return Contract(
        name=export.name,
        description=export.description,
        network=settings.network,
        heads=settings.heads(),
        voxel_size=data.voxel_size,
        modality=data.modality,
        normalisation=Normalisation(kind=data.normalisation, mean=moments[0], std=moments[1]),
        margin=export.margin,
        divisor=divisor_of(settings.network),
        training=TrainingData(
            data=export.data,
            seed=settings.seed,
            recipe=export.name,
            steps=steps,
            source_model=settings.finetune.source if settings.finetune else "",
            annotations=settings.finetune.annotations if settings.finetune else "",
        ),
        licence=export.licence,
        attribution=export.attribution,
        scores={f"validation_{k}": round(v, 4) for k, v in scores.items() if k != "threshold"},
        segmentation=segmentation,
        **more,
    )
