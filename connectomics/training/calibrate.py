"""Calibrate a network's uncertainty on held-out volumes with painted labels, for its contract."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from connectomics.networks.contract import Contract
from connectomics.segmentation.calibration import EDGE_KEY
from connectomics.segmentation.fit_calibration import Evidence
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.training.loading import load_volumes
from connectomics.training.phantoms import load_phantoms
from connectomics.training.settings import TrainSettings
from connectomics.training.sources import UNLABELLED, Source
from connectomics.training.targets import erode_borders
from connectomics.training.validation import predict_source

_log = logging.getLogger(__name__)

Predict = Callable[[Source], NDArray[np.uint8]]
"""Affinities (c, z, y, x) of the whole of a source."""


def calibrated(contract: Contract, network: nn.Module, settings: TrainSettings, cache: Path) -> Contract:
    """The contract of a network that has been trained, calibrated where there are volumes to do it on.

    Parameters
    ----------
    contract
        With the segmentation settings that edges are judged by.
    network
        In evaluation mode.
    settings
        The run: its validation volumes, and the erosion of its targets.
    cache
        Folder of the phantoms.
    """
    device = next(network.parameters()).device
    whole = (slice(None),) * 3

    def predict(source: Source) -> NDArray[np.uint8]:
        if contract.normalisation.kind == "fixed":
            source = replace(source, mean=contract.normalisation.mean, std=contract.normalisation.std)
        placed = replace(source.to(device), score=whole)
        return predict_source(network, placed, contract.divisor, len(contract.offsets))

    try:
        return calibrate(contract, predict, settings, cache)
    except Exception:  # hours of training must not be lost to what comes after
        _log.exception("the calibration of the uncertainty failed; the model is written without.")
        return contract


def calibrate(contract: Contract, predict: Predict, settings: TrainSettings, cache: Path) -> Contract:
    """The contract with the calibration that `predict` has on the recipe's validation volumes.

    Voxels are compared with what the network was asked for (borders drawn back by ``targets.erosion``), edges
    with the labels as painted. What lies outside a volume's scored part is predicted and segmented, but only
    tells which objects the fragments are of.
    """
    evidence = Evidence()
    segmentation = SegmentationSettings.parse(contract.segmentation, "contract: segmentation")
    whole = (slice(None),) * 3
    for source in calibration_sources(settings, cache):
        z, y, x = source.score
        asked = torch.full_like(source.labels, UNLABELLED)
        asked[z, y, x] = erode_borders(source.labels, settings.targets.erosion)[z, y, x]
        affinities, labels = predict(source), source.labels.numpy()
        evidence.add_voxels(affinities, asked.numpy(), contract.offsets)
        image = source.normalised(whole) if segmentation.grey_penalty else None
        evidence.add_edges(affinities, labels, contract.offsets, segmentation, (z, y, x), image)
    tables = evidence.calibration()
    if tables and EDGE_KEY not in tables:
        _log.warning("too few edges on the validation volumes: their uncertainty stays uncalibrated.")
    return contract.model_copy(update={"calibration": tables or None})


def calibration_sources(settings: TrainSettings, cache: Path) -> list[Source]:
    """The validation volumes, and the phantoms meant for calibration or else those of validation."""
    data, chosen_on = settings.data, settings.validation
    phantoms = chosen_on.calibration_phantoms or chosen_on.phantoms
    volumes = load_volumes(data, chosen_on.volumes, settings.truth)
    return volumes + load_phantoms(data, phantoms, cache, settings.truth)
