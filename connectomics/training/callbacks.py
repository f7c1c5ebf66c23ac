"""What happens beside the training step: metrics.csv, checkpoints to resume from, validation."""

import csv
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from connectomics.training.crop_choice import is_out_of_memory

_log = logging.getLogger(__name__)

COLUMNS = (
    "step", "minutes", "steps_per_second", "lr", "loss", "loss_affinities", "loss_lsd", "loss_dice",
    "loss_cldice", "loss_maximin",
    "balanced_accuracy", "voi_split", "voi_merge", "voi_sum", "threshold",
    "loss_l1", "loss_nll", "loss_ssim", "loss_membrane", "loss_adversarial", "loss_discriminator", "shift",
    "l1", "psnr", "ssim", "nll", "misregistration",
)  # fmt: skip
"""Columns of metrics.csv; a cell is empty where a row has no such value."""

LAST = "last.ckpt"


class Metrics(Callback):
    """Appends rows to metrics.csv; a resumed run goes on in the same file."""

    def __init__(self, path: Path, every: int) -> None:
        self._path, self._every = path, every
        self._mark = (0, time.monotonic())

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Drop rows of steps that will be taken again, and start the clock."""
        self._mark = (trainer.global_step, time.monotonic())
        if trainer.is_global_zero:
            rows: list[dict[str, Any]] = []
            if self._path.exists():
                with self._path.open(newline="") as stream:
                    rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= trainer.global_step]
            with self._path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a row every so many steps."""
        step = trainer.global_step
        if step % self._every or not trainer.is_global_zero:
            return
        before, then = self._mark
        now = time.monotonic()
        values = {name: float(value) for name, value in pl_module.latest.items()}
        values["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        values["steps_per_second"] = (step - before) / max(now - then, 1e-9)
        self._mark = (step, now)
        self.write(step, pl_module.minutes, values)

    def write(self, step: int, minutes: float, values: dict[str, float]) -> None:
        """Append one row."""
        shown = {name: f"{value:.6g}" for name, value in values.items() if name in COLUMNS}
        with self._path.open("a", newline="") as stream:
            csv.DictWriter(stream, COLUMNS).writerow({"step": step, "minutes": f"{minutes:.3f}", **shown})
        _log.info("step %d, %.2f min: %s", step, minutes, ", ".join(f"{k} {v}" for k, v in shown.items()))


class Checkpoints(Callback):
    """Saves everything needed to go on, every so many steps and at the end; files appear whole."""

    def __init__(self, folder: Path, every: int) -> None:
        self._folder, self._every = folder, every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every so many steps."""
        if trainer.global_step % self._every == 0:
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save at the end."""
        self.save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Save where memory ran out: the run goes on from here with a smaller crop."""
        if is_out_of_memory(exception) and trainer.world_size == 1:
            pl_module.zero_grad(set_to_none=True)
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save now; every device must call this."""
        partial = self._folder / (LAST + ".partial")
        trainer.save_checkpoint(partial, weights_only=False)
        if trainer.is_global_zero:
            partial.replace(self._folder / LAST)


class Validation(Callback):
    """Validates the averaged weights every so many steps, on the first device."""

    def __init__(self, sources: Sequence[Any], metrics: Metrics) -> None:
        self._sources, self._metrics = list(sources), metrics
        self.latest: dict[str, float] = {}
        self._step = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate every so many steps."""
        if trainer.global_step % pl_module.settings.validation.every == 0:
            self.run(pl_module, trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Validate what will be exported."""
        self.complete(pl_module, trainer.global_step)

    def complete(self, pl_module: Any, step: int) -> None:
        """Validate what will be exported, unless that was done; a run that goes on may have no step left."""
        if step != self._step:
            self.run(pl_module, step)

    def run(self, pl_module: Any, step: int) -> None:
        """Validate now and write a row."""
        self._step = step
        if pl_module.global_rank or not self._sources:
            return
        placed = [source.to(pl_module.device) for source in self._sources]
        try:
            self.latest = pl_module.score(placed)
        except Exception:  # hours of training must not be lost to a score
            _log.exception("step %d: validation failed; training goes on.", step)
            return
        self._metrics.write(step, pl_module.minutes, self.latest)
