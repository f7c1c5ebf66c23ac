"""A training run from settings to a model folder; run again, it goes on where it stopped.

``python -m connectomics.training.train CONFIG.toml --output DIR [--set section.key=value]...`` trains
where only the libraries of training are at hand; elsewhere ``connectomics train`` does the same.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from connectomics.errors import ConnectomicsError, InputError, SettingsError
from connectomics.networks.checkpoint import save_model
from connectomics.networks.models import find_model
from connectomics.settings import apply_overrides, read_toml
from connectomics.training.annotations import RECIPE, recipe_values, with_annotations
from connectomics.training.calibrate import calibrated
from connectomics.training.callbacks import Checkpoints, Metrics, Validation
from connectomics.training.crop_choice import settle_crop
from connectomics.training.detector import DetectorTraining
from connectomics.training.exporting import make_contract, pooled
from connectomics.training.fitting import check_crop, fit, start_from
from connectomics.training.loading import load_volumes
from connectomics.training.mining import Mining
from connectomics.training.module import AffinityTraining
from connectomics.training.phantoms import load_phantoms
from connectomics.training.rounds import Rounds
from connectomics.training.run_folder import claimed
from connectomics.training.settings import TrainSettings
from connectomics.training.source_features import remember_sources
from connectomics.training.sources import Source

_log = logging.getLogger(__name__)


def train(settings: TrainSettings, output: str | Path) -> Path:
    """Train a network and export it.

    Parameters
    ----------
    settings
        The run.
    output
        Folder of the run: settings.json, metrics.csv, last.ckpt, phantoms/, crop.json where the crop is not
        the recipe's, and model/ at the end. If an interrupted run with the same settings is there, it is
        continued. A translation writes beside them network/, the network before calibration; an ensemble
        member-0/ and so on.

    Returns
    -------
    Path
        The model's folder (`output`/model).

    Raises
    ------
    InputError
        There are no data, or they cannot be read.
    OutputExistsError
        A run with other settings is there, or something else.
    """
    folder, settings = Path(output), with_annotations(settings)
    check_crop(settings)
    with claimed(folder, settings) as complete:
        if complete:
            _log.info("%s: this run is complete already.", folder)
            return folder / "model"
        if settings.translation is None:
            return _train_network(settings, folder)
        from connectomics.training.train_translation import train_translation

        return train_translation(settings, folder)


def _train_network(settings: TrainSettings, folder: Path) -> Path:
    """Train one network for affinities, or a detector, and export it."""
    cache, chosen_on = folder / "phantoms", settings.validation
    sources, moments = load_sources(settings, cache)
    held_out = load_volumes(settings.data, chosen_on.volumes, settings.truth)
    held_out += load_phantoms(settings.data, chosen_on.phantoms, cache, settings.truth)
    _check_targets(settings, sources, held_out)
    if settings.data.normalisation == "fixed":
        held_out = [replace(source, mean=moments[0], std=moments[1]) for source in held_out]
    settings = settle_crop(settings, folder, sources)
    module = (DetectorTraining if settings.targets.detector else AffinityTraining)(settings, sources)
    if settings.start_from is not None:
        start_from(module, settings.start_from)
    metrics = Metrics(folder / "metrics.csv", settings.log_every)
    validation = Validation(held_out, metrics)
    callbacks: list[Any] = [metrics, Checkpoints(folder, settings.checkpoint_every), validation]
    if settings.truth.method == "pseudo" and any(source.traces is not None for source in sources):
        callbacks.insert(0, Rounds(folder))
    if settings.mining.share:
        callbacks.insert(0, Mining(folder))  # before the checkpoint, which would else be ahead of it
    steps = fit(module, folder, callbacks)
    validation.complete(module, steps)
    contract = make_contract(settings, moments, validation.latest, steps)
    if module.global_rank == 0:
        if contract.offsets:
            contract = calibrated(contract, module.average, settings, cache)
        save_model(
            folder / "model", module.average.cpu(), contract, half_precision=settings.export.half_precision
        )
        remember_sources(find_model(folder / "model"), sources, settings.export.features)
    return folder / "model"


def load_sources(settings: TrainSettings, cache: Path) -> tuple[list[Source], tuple[float, float]]:
    """What a recipe is fitted to, normalised, and the mean and standard deviation over all of it.

    Raises
    ------
    InputError
        There is nothing, or it cannot be read.
    """
    data, truth = settings.data, settings.truth
    sources = load_volumes(data, data.volumes, truth) + load_phantoms(data, data.phantoms, cache, truth)
    if not sources:
        raise InputError("data: no volumes and no phantoms to train on; give data.volumes or data.phantoms.")
    moments = pooled([(s.mean, s.std) for s in sources], [source.proportion for source in sources])
    if data.normalisation == "fixed":
        sources = [replace(source, mean=moments[0], std=moments[1]) for source in sources]
    return sources, moments


def read_recipe(config: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Values of a recipe; `config` may be a folder of annotations, which holds one."""
    path = Path(config)
    if path.is_dir():
        path = path / RECIPE
    return apply_overrides(recipe_values(path, read_toml(path)), overrides)


def _check_targets(settings: TrainSettings, sources: Sequence[Source], held_out: Sequence[Source]) -> None:
    if any(source.traces is not None for source in held_out):
        raise SettingsError("validation: give painted labels alone; what is made of skeletons is no truth.")
    traced = any(source.traces is not None for source in sources)
    loss = settings.loss
    if settings.targets.detector and (
        traced or loss.dice or loss.cldice or loss.maximin or settings.mining.share
    ):
        raise SettingsError(
            "targets.detector: is learnt from painted labels with the plain loss; set no skeletons, no other "
            "losses and no mining."
        )
    if settings.targets.detector and not any(bool((source.labels == 0).any()) for source in sources):
        raise SettingsError(
            "targets.detector: no voxel of the data is background, so there is nothing to tell objects from; "
            "where 0 in the labels means no object, set background = 'true' for the volume."
        )
    if settings.targets.lsd and any(source.traces is not None for source in sources):
        raise SettingsError(
            "targets.lsd: shape descriptors need whole objects; with skeletons set lsd = false."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="connectomics.training.train", description="Train from a TOML file."
    )
    parser.add_argument("config", help="the recipe")
    parser.add_argument("--output", required=True, help="folder of the run")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        values = read_recipe(options.config, options.set)
        train(TrainSettings.parse(values, options.config), options.output)
    except ConnectomicsError as error:
        logging.getLogger(__name__).error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
