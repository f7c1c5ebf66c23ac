"""Fitting a network: train to the end of the schedule, go on where an earlier run stopped."""

import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from connectomics.errors import ModelError, RunFailed, SettingsError
from connectomics.networks.build import build_network, divisor_of
from connectomics.networks.checkpoint import load_network
from connectomics.networks.models import find_model
from connectomics.training.bfloat16 import check_depth
from connectomics.training.callbacks import LAST
from connectomics.training.crop_choice import is_out_of_memory, read_record, smaller_crop
from connectomics.training.network_training import NetworkTraining
from connectomics.training.settings import TrainSettings

log = logging.getLogger(__name__)


class Steps:
    """Step numbers without end; nothing to save, because batches follow the trainer's step."""

    def __iter__(self) -> Iterator[int]:
        """Count up."""
        return iter(range(sys.maxsize))

    def state_dict(self) -> dict[str, int]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Nothing to take up."""


def check_crop(settings: TrainSettings) -> None:
    """Refuse crops that the network cannot take, unless memory decides; then they are proportions."""
    if settings.memory is not None and min(settings.crop) > 0:
        return
    divisor = divisor_of(settings.network)
    if any(n % d or n <= 0 for n, d in zip(settings.crop, divisor, strict=True)):
        raise SettingsError(f"crop: must be multiples of the network's {divisor}, got {settings.crop}.")
    if tuple(settings.crop) == tuple(divisor):
        try:
            build_network(settings.network, 1, 1).train()(torch.zeros(settings.batch, 1, *divisor))
        except ValueError:  # a norm of one value
            raise SettingsError(
                f"crop: {settings.crop} with batch {settings.batch} leaves the network's coarsest level one "
                "value a channel, which has no variance; give a larger crop."
            ) from None


def start_from(module: NetworkTraining, where: str) -> None:
    """Give the network the averaged weights of an earlier run (its folder), or those of a model.

    Raises
    ------
    SettingsError
        There is neither, or it holds another network.
    """
    checkpoint = Path(where) / LAST
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        averaged = {k.removeprefix("average."): v for k, v in state.items() if k.startswith("average.")}
    else:
        averaged = _weights_of_model(where, checkpoint)
    try:
        module.network.load_state_dict(averaged)
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise SettingsError(
            f"start_from: {where} holds another network (or, of a model, fewer heads: targets.lsd = false): "
            f"{text[:300]}"
        ) from None
    module.average.load_state_dict(averaged)


def _weights_of_model(where: str, checkpoint: Path) -> dict[str, Any]:
    try:
        return load_network(find_model(where, "start_from")).state_dict()
    except ModelError as error:
        raise SettingsError(
            f"start_from: {checkpoint} does not exist; name the folder of a run, or a model ({error})"
        ) from None


def fit(module: NetworkTraining, folder: Path, callbacks: list[Any]) -> int:
    """Train to the end of the schedule, from the folder's last checkpoint where there is one.

    A step that runs out of memory is taken again with a smaller crop, from where the run was.

    Returns
    -------
    int
        Optimiser steps taken.

    Raises
    ------
    KeyboardInterrupt
        The run was interrupted before its end.
    SettingsError
        The device is not there.
    RunFailed
        Memory ran out with the smallest crop, or on several devices, which would each have to know.
    """
    from lightning.pytorch import Trainer

    while True:
        record = read_record(folder)
        if record is not None:
            module.settings = module.settings.model_copy(update={"crop": tuple(record["crop"])})
        try:
            return run_trainer(module, folder, callbacks, Trainer)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            step, told = int(module.global_step), " ".join(str(error).split())[:200]
        # here the error is gone, and with it what its frames held
        module.zero_grad(set_to_none=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        several = torch.cuda.device_count() > 1 and module.settings.device != "cpu"
        if several or smaller_crop(module.settings, folder, step) is None:
            raise RunFailed(
                f"step {step + 1} ran out of memory with crop {module.settings.crop} and batch "
                f"{module.settings.batch}: {told}. Set a smaller crop, batch or network."
            )


def run_trainer(module: NetworkTraining, folder: Path, callbacks: list[Any], trainer_class: Any) -> int:
    """One attempt at what `fit` does."""
    settings = module.settings
    torch.set_float32_matmul_precision("high")
    cuda = settings.device != "cpu" and torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise SettingsError("device: 'cuda' was asked for, but there is no CUDA device; use device=auto.")
    half = settings.precision == "bf16" or (
        settings.precision == "auto" and cuda and torch.cuda.is_bf16_supported()
    )
    if half and not cuda:
        check_depth(settings.network, settings.crop)
    several = cuda and torch.cuda.device_count() > 1
    last = folder / LAST
    why = "" if cuda else " (no CUDA device)" if settings.device == "auto" else " (asked for)"
    log.info("training on %s%s in %s", "cuda" if cuda else "cpu", why, "bfloat16" if half else "float32")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it recommends products
    with warnings.catch_warnings():
        # the dataloader is a count of steps, which a warning about its workers or its length misses
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.*")
        trainer = trainer_class(
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
        trainer.fit(module, Steps(), ckpt_path=resume, weights_only=True if resume else None)
    if trainer.interrupted or (module.done < 1 and trainer.global_step < settings.steps):
        raise KeyboardInterrupt
    return int(trainer.global_step)
