"""Which parameters learn at which rate: all alike, or, in fine-tuning, deeper ones slower and later."""

from collections import defaultdict
from typing import Any

from torch import nn

from connectomics.networks.build import divisor_of
from connectomics.networks.layers import parameter_depths
from connectomics.training.settings import TrainSettings


def parameter_groups(network: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """Groups for the optimiser; norms and biases do not decay.

    Returns
    -------
    list of dict
        ``params``, ``weight_decay``, ``scale`` (of the learning rate) and ``depth`` (stages from the output).
    """
    finetune, decay = settings.finetune, settings.optimiser.weight_decay
    depths = {} if finetune is None else parameter_depths(network, 1, divisor_of(settings.network))
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        groups[depths.get(name, 0), parameter.ndim > 1].append(parameter)
    return [
        {
            "params": groups[depth, decays],
            "weight_decay": decay if decays else 0.0,
            "scale": 1.0 if finetune is None else finetune.depth_decay**depth,
            "depth": depth,
        }
        for depth, decays in sorted(groups, key=lambda key: (key[0], not key[1]))
    ]


def group_rate(group: dict[str, Any], settings: TrainSettings, done: float, factor: float) -> float:
    """Learning rate of a group when `done` (0 to 1) of the run is over; `factor` is the schedule's."""
    finetune = settings.finetune
    if finetune is not None and done < finetune.head_share and group.get("depth", 0) > 0:
        return 0.0
    return settings.optimiser.lr * factor * float(group.get("scale", 1.0))
