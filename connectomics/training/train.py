"""A training run from settings to a model folder; run again, it goes on where it stopped.

``python -m connectomics.training.train CONFIG.toml --output DIR [--set section.key=value]...`` trains
where only the libraries of training are at hand; elsewhere ``connectomics train`` does the same.
"""

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from connectomics.errors import ConnectomicsError, InputError, OutputExistsError, SettingsError
from connectomics.networks.build import divisor_of
from connectomics.networks.checkpoint import save_model
from connectomics.networks.contract import Contract, Normalisation, TrainingData
from connectomics.networks.models import CONTRACT_FILE
from connectomics.settings import apply_overrides, read_toml
from connectomics.training.calibrate import calibrated
from connectomics.training.callbacks import LAST, Checkpoints, Metrics, Validation
from connectomics.training.loading import load_volumes
from connectomics.training.module import AffinityTraining
from connectomics.training.phantoms import load_phantoms
from connectomics.training.rounds import Rounds
from connectomics.training.settings import TrainSettings
from connectomics.training.sources import Source

_log = logging.getLogger(__name__)

_FREE = {"max_minutes", "device", "checkpoint_every", "log_every", "compile", "channels_last"}
"""Settings that a resumed run may change."""


class _Steps:
    """Step numbers without end; nothing to save, because batches follow the trainer's step."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(sys.maxsize))

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        pass


def train(settings: TrainSettings, output: str | Path) -> Path:
    """Train a network and export it.

    Parameters
    ----------
    settings
        The run.
    output
        Folder of the run: settings.json, metrics.csv, last.ckpt, phantoms/, and model/ at the end. If an
        interrupted run with the same settings is there, it is continued.

    Returns
    -------
    Path
        The model's folder (`output`/model).

    Raises
    ------
    InputError
        There are no data, or they cannot be read.
    OutputExistsError
        A run with other settings is there.
    """
    folder = Path(output)
    _check_crop(settings)
    if _claim(folder, settings):
        _log.info("%s: this run is complete already.", folder)
        return folder / "model"
    cache, data = folder / "phantoms", settings.data
    truth = settings.truth
    sources = load_volumes(data, data.volumes, truth) + load_phantoms(data, data.phantoms, cache, truth)
    if not sources:
        raise InputError("data: no volumes and no phantoms to train on; give data.volumes or data.phantoms.")
    chosen_on = settings.validation
    held_out = load_volumes(data, chosen_on.volumes, truth)
    held_out += load_phantoms(data, chosen_on.phantoms, cache, truth)
    _check_targets(settings, sources, held_out)
    mean, std = _pooled(sources)
    if data.normalisation == "fixed":
        sources = [replace(source, mean=mean, std=std) for source in sources]
        held_out = [replace(source, mean=mean, std=std) for source in held_out]
    module = AffinityTraining(settings, sources)
    if settings.start_from is not None:
        _start_from(module, Path(settings.start_from) / LAST)
    metrics = Metrics(folder / "metrics.csv", settings.log_every)
    validation = Validation(held_out, metrics)
    callbacks: list[Any] = [metrics, Checkpoints(folder, settings.checkpoint_every), validation]
    if truth.method == "pseudo" and any(source.traces is not None for source in sources):
        callbacks.insert(0, Rounds(folder))
    trainer = _fit(module, folder, callbacks)
    if trainer.interrupted or (module.done < 1 and trainer.global_step < settings.steps):
        raise KeyboardInterrupt
    contract = make_contract(settings, (mean, std), validation.latest, trainer.global_step)
    if trainer.is_global_zero:
        contract = calibrated(contract, module.average, settings, cache)
        save_model(
            folder / "model", module.average.cpu(), contract, half_precision=settings.export.half_precision
        )
    return folder / "model"


def _start_from(module: AffinityTraining, checkpoint: Path) -> None:
    """Give the network the averaged weights of an earlier run."""
    if not checkpoint.exists():
        raise SettingsError(f"start_from: {checkpoint} does not exist; name the folder of a run.")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    averaged = {k.removeprefix("average."): v for k, v in state.items() if k.startswith("average.")}
    try:
        module.network.load_state_dict(averaged)
    except RuntimeError as error:
        raise SettingsError(f"start_from: {checkpoint} holds another network: {error}.") from None
    module.average.load_state_dict(averaged)


def _fit(module: AffinityTraining, folder: Path, callbacks: list[Any]) -> Any:
    from lightning.pytorch import Trainer

    settings = module.settings
    torch.set_float32_matmul_precision("high")
    cuda = settings.device != "cpu" and torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise SettingsError("device: 'cuda' was asked for, but there is no CUDA device; use device=auto.")
    half = settings.precision == "bf16" or (
        settings.precision == "auto" and cuda and torch.cuda.is_bf16_supported()
    )
    several = cuda and torch.cuda.device_count() > 1
    last = folder / LAST
    with warnings.catch_warnings():
        # the dataloader is a count of steps, which a warning about its workers or its length misses
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.*")
        trainer = Trainer(
            accelerator="cuda" if cuda else "cpu",
            devices="auto" if cuda else 1,
            strategy="ddp" if several else "auto",
            precision="bf16-mixed" if half else "32-true",
            max_steps=settings.steps,
            gradient_clip_val=settings.optimiser.clip,
            benchmark=cuda,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
        )
        resume = str(last) if last.exists() else None
        trainer.fit(module, _Steps(), ckpt_path=resume, weights_only=True if resume else None)
    return trainer


def _check_crop(settings: TrainSettings) -> None:
    divisor = divisor_of(settings.network)
    if any(n % d or n <= 0 for n, d in zip(settings.crop, divisor, strict=True)):
        raise SettingsError(f"crop: must be multiples of the network's {divisor}, got {settings.crop}.")


def _check_targets(settings: TrainSettings, sources: Sequence[Source], held_out: Sequence[Source]) -> None:
    if any(source.traces is not None for source in held_out):
        raise SettingsError("validation: give painted labels alone; what is made of skeletons is no truth.")
    if settings.targets.lsd and any(source.traces is not None for source in sources):
        raise SettingsError(
            "targets.lsd: shape descriptors need whole objects; with skeletons set lsd = false."
        )


def _claim(folder: Path, settings: TrainSettings) -> bool:
    """Take the folder for this run; True if the run is complete already."""
    values = json.loads(settings.model_dump_json(exclude=_FREE))
    record = folder / "settings.json"
    if record.exists():
        there = json.loads(record.read_text(encoding="utf-8"))
        differing = sorted(k for k in values.keys() | there.keys() if values.get(k) != there.get(k))
        if differing:
            raise OutputExistsError(
                f"{folder}: holds a run with other settings ({', '.join(differing)}). Choose "
                "another --output, or remove it."
            )
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return (folder / "model" / CONTRACT_FILE).exists()


def _pooled(sources: Sequence[Source]) -> tuple[float, float]:
    """Mean and standard deviation over all sources, each weighing by its share of the crops."""
    weights = np.array([source.proportion for source in sources])
    means = np.array([source.mean for source in sources])
    squares = np.array([source.std**2 + source.mean**2 for source in sources])
    mean = float(np.average(means, weights=weights))
    return mean, float(np.sqrt(np.average(squares, weights=weights) - mean**2))


def make_contract(
    settings: TrainSettings, moments: tuple[float, float], scores: dict[str, float], steps: int
) -> Contract:
    """The contract of a trained network, its auxiliary heads included."""
    export, data = settings.export, settings.data
    segmentation = dict(settings.validation.segmentation)
    if "threshold" in scores:
        segmentation["threshold"] = scores["threshold"]
    return Contract(
        name=export.name,
        description=export.description,
        network=settings.network,
        heads=settings.targets.heads(),
        voxel_size=data.voxel_size,
        modality=data.modality,
        normalisation=Normalisation(kind=data.normalisation, mean=moments[0], std=moments[1]),
        margin=export.margin,
        divisor=divisor_of(settings.network),
        training=TrainingData(data=export.data, seed=settings.seed, recipe=export.name, steps=steps),
        licence=export.licence,
        attribution=export.attribution,
        scores={f"validation_{k}": round(v, 4) for k, v in scores.items() if k != "threshold"},
        segmentation=segmentation,
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
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        values = apply_overrides(read_toml(options.config), options.set)
        train(TrainSettings.parse(values, options.config), options.output)
    except ConnectomicsError as error:
        logging.getLogger(__name__).error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
