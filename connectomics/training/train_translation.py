"""A translation's run: pairs, the members of the ensemble one after the other, calibration, one model."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from connectomics.errors import InputError
from connectomics.networks.checkpoint import load_network, save_model
from connectomics.networks.contract import Normalisation
from connectomics.networks.models import Model, find_model
from connectomics.training.callbacks import Checkpoints, Metrics, Validation
from connectomics.training.crop_choice import settle_crop
from connectomics.training.exporting import make_contract, pooled
from connectomics.training.fitting import fit, start_from
from connectomics.training.pair_loading import check_crop_fits, load_pairs, load_phantom_pairs
from connectomics.training.pairs import PairSource
from connectomics.training.run_folder import claim
from connectomics.training.settings import TrainSettings
from connectomics.training.translation import TranslationTraining
from connectomics.training.translation_validation import calibrate_on

_log = logging.getLogger(__name__)


def train_translation(settings: TrainSettings, folder: Path) -> Path:
    """Train a translation, or each member of its ensemble, and export them as one model.

    Parameters
    ----------
    settings
        The run; it has a translation section.
    folder
        Of the run, claimed. Members of an ensemble have folders of their own in it, ``member-0`` and so on;
        those that are complete are not trained again.

    Returns
    -------
    Path
        The model's folder.

    Raises
    ------
    InputError
        There are no data, they cannot be read, or they are smaller than a crop.
    """
    sources, held_out, grey = load_translation(settings, folder / "phantoms")
    settings = settle_crop(settings, folder, sources)
    if settings.members == 1:
        found = [_train_member(settings, folder, folder / "network", sources, held_out, grey)]
    else:
        found = []
        for number in range(settings.members):
            one = settings.model_copy(update={"seed": settings.seed + number, "members": 1})
            place = folder / f"member-{number}"
            claim(place, one)
            _log.info("member %d of %d, seed %d", number + 1, settings.members, one.seed)
            found.append(_train_member(one, place, place / "network", sources, held_out, grey))
    if _rank() == 0:
        _export(settings, folder / "model", found, held_out)
    _together()
    return folder / "model"


def load_translation(
    settings: TrainSettings, cache: Path
) -> tuple[list[PairSource], list[PairSource], Normalisation]:
    """Pairs to fit to, pairs to score on, and what standardised grey values stand for.

    Targets of all pairs share one mean and deviation: a translation's grey values mean the same everywhere.
    """
    data, held = settings.data, settings.validation
    factor = settings.network.upsample
    sources = load_pairs(data, data.pairs, factor)
    sources += load_phantom_pairs(data, data.phantoms, factor, cache)
    if not sources:
        raise InputError("data: no pairs and no phantoms to train on; give data.pairs or data.phantoms.")
    if settings.memory is None:
        check_crop_fits(sources, settings.crop)
    held_out = load_pairs(data, held.pairs, factor) + load_phantom_pairs(data, held.phantoms, factor, cache)
    weights = [source.proportion for source in sources]
    mean, std = pooled([(source.target_mean, source.target_std) for source in sources], weights)
    changes: dict[str, Any] = {"target_mean": mean, "target_std": std}
    if data.normalisation == "fixed":
        own = pooled([(source.mean, source.std) for source in sources], weights)
        changes |= {"mean": own[0], "std": own[1]}
    fixed = [[replace(source, **changes) for source in group] for group in (sources, held_out)]
    return fixed[0], fixed[1], Normalisation(mean=mean, std=std)


def _train_member(
    settings: TrainSettings,
    folder: Path,
    target: Path,
    sources: list[PairSource],
    held_out: list[PairSource],
    grey: Normalisation,
) -> Model:
    """Train one network and save it with a contract of its own, not calibrated; `target` is its folder."""
    if (target / "contract.json").exists():
        return find_model(target)
    module = TranslationTraining(settings, sources, grey)
    if settings.start_from is not None:
        start_from(module, settings.start_from)
    metrics = Metrics(folder / "metrics.csv", settings.log_every)
    validation = Validation(held_out, metrics)
    callbacks: list[Any] = [metrics, Checkpoints(folder, settings.checkpoint_every), validation]
    steps = fit(module, folder, callbacks)
    validation.complete(module, steps)
    moments = pooled([(s.mean, s.std) for s in sources], [s.proportion for s in sources])
    contract = make_contract(
        settings,
        moments,
        validation.latest,
        steps,
        output_normalisation=grey,
        output_dtype=_grey_type(sources),
    )
    if module.global_rank == 0:
        save_model(target, module.average.cpu(), contract, half_precision=settings.export.half_precision)
    _together()
    return find_model(target)


def _grey_type(sources: Sequence[PairSource]) -> str:
    """The narrowest type that holds every target's grey values."""
    kinds = {source.grey_type for source in sources}
    if kinds <= {"uint8"}:
        return "uint8"
    return "uint16" if kinds <= {"uint8", "uint16"} else "float32"


def _rank() -> int:
    """Number of this process among those that train together."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if several else 0


def _together() -> None:
    """Wait until every process that trains has come here."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def _export(
    settings: TrainSettings, folder: Path, found: Sequence[Model], held_out: list[PairSource]
) -> None:
    """One model of all members, calibrated on the held-out pairs, with its members' mean scores."""
    networks = [load_network(model) for model in found]
    changes: dict[str, Any] = {"members": len(found)}
    names = found[0].contract.scores
    scores = {k: sum(model.contract.scores[k] for model in found) / len(found) for k in names}
    if held_out:
        try:
            changes["uncertainty"], covered = calibrate_on(networks, held_out, settings)
            scores |= {f"validation_{k}": v for k, v in covered.items()}
        except InputError as error:
            _log.warning("not calibrated: %s", error)
    else:
        _log.warning("validation: no pairs and no phantoms, so the uncertainty is not calibrated.")
    changes["scores"] = {name: round(value, 4) for name, value in scores.items()}
    contract = found[0].contract.model_copy(update=changes)
    save_model(folder, networks, contract, half_precision=settings.export.half_precision)
