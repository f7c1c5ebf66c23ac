"""Rounds of pseudo labels: now and then the network labels its own training volumes, skeletons deciding."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from numpy.typing import NDArray

from connectomics.networks.build import divisor_of
from connectomics.training.module import AffinityTraining
from connectomics.training.pseudo import pseudo_labels
from connectomics.training.truth import renewed
from connectomics.training.validation import predict_source

_log = logging.getLogger(__name__)


class Rounds(Callback):
    """Makes new labels at equal distances through the run; a resumed run takes them from its folder.

    Parameters
    ----------
    folder
        Of the run; ``pseudo-1.npz`` and so on are written there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._round = folder, 0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Take up the labels of the last round before the step that the run resumes from."""
        for number in range(pl_module.settings.truth.rounds, 0, -1):
            path = self._path(number)
            if not path.exists():
                continue
            with np.load(path, allow_pickle=False) as kept:
                if int(kept["step"]) <= trainer.global_step:
                    self._use(pl_module, number, [kept[name] for name in kept.files if name != "step"])
                    return

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Make new labels when the next round is due."""
        rounds = pl_module.settings.truth.rounds
        due = min(rounds, int(pl_module.done * (rounds + 1)))
        if due <= self._round:
            return
        path = self._path(due)
        if trainer.is_global_zero:
            found = self._label(pl_module)
            partial = path.with_suffix(".partial.npz")
            np.savez_compressed(
                partial, allow_pickle=False, step=trainer.global_step,
                **{f"labels{i:04d}": labels for i, labels in enumerate(found)},
            )  # fmt: skip
            partial.replace(path)
        trainer.strategy.barrier()
        with np.load(path, allow_pickle=False) as kept:
            self._use(pl_module, due, [kept[name] for name in kept.files if name != "step"])

    def _label(self, module: AffinityTraining) -> list[NDArray[np.int32]]:
        from connectomics.segmentation.settings import SegmentationSettings

        settings, found = module.settings, []
        segmentation = SegmentationSettings.parse(settings.validation.segmentation)
        for source in module.sources:
            if source.traces is None:
                continue
            affinities = predict_source(
                module.average,
                source.to(module.device),
                divisor_of(settings.network),
                len(settings.targets.offsets),
            )
            found.append(pseudo_labels(affinities, settings.targets.offsets, source.traces, segmentation))
        return found

    def _use(self, module: AffinityTraining, number: int, labels: list[NDArray[np.int32]]) -> None:
        first, last = module.settings.truth.shares
        rounds = module.settings.truth.rounds
        share = first + (last - first) * (number - 1) / max(1, rounds - 1)
        module.draw_from(renewed(module.sources, labels, share))
        known = float(np.mean([(found >= 0).mean() for found in labels]))
        _log.info("round %d: %.0f%% of the voxels have labels, %.0f%% of the crops use them",
                  number, 100 * known, 100 * share)  # fmt: skip
        self._round = number

    def _path(self, number: int) -> Path:
        return self._folder / f"pseudo-{number}.npz"
