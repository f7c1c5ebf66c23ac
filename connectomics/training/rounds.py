"""Rounds of pseudo labels: now and then the network labels its own training volumes, skeletons deciding."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer

from connectomics.networks.build import divisor_of
from connectomics.training.module import AffinityTraining
from connectomics.training.pseudo import UNKNOWN, pseudo_labels
from connectomics.training.sources import Labels
from connectomics.training.truth import renewed
from connectomics.training.validation import predict_source

_log = logging.getLogger(__name__)

_BLOCK, _CONTEXT = 320, 48
"""Voxels labelled at once along each axis, and around them. Names are the skeletons', but whether a fragment
has one or two is judged within a block and its surroundings."""


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
            self._make(pl_module, trainer.global_step, path)
        trainer.strategy.barrier()
        with np.load(path, allow_pickle=False) as kept:
            self._use(pl_module, due, [kept[name] for name in kept.files if name != "step"])

    def _make(self, module: AffinityTraining, step: int, path: Path) -> None:
        """Write the labels of a round; they are read again by all, so none are kept here."""
        partial = path.with_suffix(".partial.npz")
        labels = {f"labels{i:04d}": labels for i, labels in enumerate(self._label(module))}
        np.savez_compressed(partial, allow_pickle=False, step=step, **labels)
        partial.replace(path)

    def _label(self, module: AffinityTraining) -> list[Labels]:
        from connectomics.segmentation.settings import SegmentationSettings

        settings, found = module.settings, list[Labels]()
        segmentation = SegmentationSettings.parse(settings.validation.segmentation)
        for source in module.sources:
            if source.traces is None:
                continue
            labels = np.full(source.raw.shape, UNKNOWN, source.traces.dtype)
            for outer, inner, core in _blocks(source.raw.shape):
                part = replace(
                    source, raw=source.raw[outer], labels=source.labels[outer], score=(slice(None),) * 3
                )
                affinities = predict_source(
                    module.average,
                    part.to(module.device),
                    divisor_of(settings.network),
                    len(settings.targets.offsets),
                )
                traces, offsets = source.traces[outer], settings.targets.offsets
                image = source.normalised(outer) if segmentation.grey_penalty else None
                certainty = settings.truth.certainty
                named = pseudo_labels(affinities, offsets, traces, segmentation, image, certainty=certainty)
                labels[core] = named[inner]
            found.append(labels)
        return found

    def _use(self, module: AffinityTraining, number: int, labels: list[Labels]) -> None:
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


Box = tuple[slice, ...]


def _blocks(shape: Sequence[int]) -> Iterator[tuple[Box, Box, Box]]:
    """For each block: what is looked at, the block within that, and the block."""
    for corner in itertools.product(*(range(0, n, _BLOCK) for n in shape)):
        core = tuple(slice(a, min(a + _BLOCK, n)) for a, n in zip(corner, shape, strict=True))
        outer = tuple(
            slice(max(0, s.start - _CONTEXT), min(n, s.stop + _CONTEXT))
            for s, n in zip(core, shape, strict=True)
        )
        inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(core, outer, strict=True))
        yield outer, inner, core
