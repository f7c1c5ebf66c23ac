"""Hard example mining: the network segments parts of its training volumes; its errors are seen more."""

import io
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from numpy.typing import NDArray

from connectomics.io.files import write_atomically
from connectomics.networks.build import divisor_of
from connectomics.training.crops import bounds
from connectomics.training.hard_places import Places, find_places
from connectomics.training.module import AffinityTraining
from connectomics.training.sources import Source
from connectomics.training.validation import predict_source

_log = logging.getLogger(__name__)

_CONTEXT = 24
"""Voxels of image around what is segmented."""

_STREAM = 2**31
"""Keeps what is drawn here apart from what is drawn for crops."""

_FADE = 0.5
"""What places outside the boxes looked at weigh, from one look to the next."""

_MOST = 4096
"""Places kept of a volume."""


class Mining(Callback):
    """Looks for errors every so many steps; a resumed run takes what was found from its folder.

    Parameters
    ----------
    folder
        Of the run; ``hard-STEP.npz`` are written there. Crops depend on the seed, the step, the rank and
        the last of these files, and that on the weights: so a resumed run draws the same.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bounds: dict[int, tuple[tuple[int, int], ...]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Take up the places of the last look before the step that the run resumes from."""
        steps = [int(path.stem.removeprefix("hard-")) for path in self._folder.glob("hard-*.npz")]
        before = [step for step in steps if step <= trainer.global_step]
        if before:
            pl_module.revisit(_read(self._path(max(before))))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look for errors when it is time."""
        step = trainer.global_step
        if step % pl_module.settings.mining.every or step >= pl_module.settings.steps:
            return
        if trainer.is_global_zero:
            _write(self._path(step), self._look(pl_module, step))
        trainer.strategy.barrier()
        pl_module.revisit(_read(self._path(step)))

    def _look(self, module: AffinityTraining, step: int) -> dict[int, Places]:
        """Places of all volumes: new ones in the boxes drawn for this step, fading ones elsewhere."""
        settings = module.settings.mining
        random = np.random.default_rng([module.settings.seed, step, _STREAM])
        shares = np.array([source.proportion for source in module.sources])
        found = {
            number: replace(places, weights=places.weights * _FADE)
            for number, places in module.places.items()
        }
        merges = splits = 0
        for number in random.choice(len(shares), settings.boxes, p=shares / shares.sum()).tolist():
            source = module.sources[number]
            if number not in self._bounds:
                self._bounds[number] = source.centres or bounds(source.labels)
            low, high = _draw_box(random, source, self._bounds[number], settings.edge)
            new = _find(module, source, low, high)
            merges, splits = merges + int(new.merges.sum()), splits + int((~new.merges).sum())
            old = found.get(number, Places.joined([]))
            outside: NDArray[np.bool_] = np.any((old.voxels < low) | (old.voxels >= high), axis=1)
            every = Places.joined([new, old.select(outside)])
            heaviest = np.argsort(-every.weights, kind="stable")[:_MOST]
            found[number] = every.select(np.sort(heaviest))
        _log.info("step %d: %d places of merges and %d of splits found in %d boxes of the training volumes",
                  step, merges, splits, settings.boxes)  # fmt: skip
        return found

    def _path(self, step: int) -> Path:
        return self._folder / f"hard-{step}.npz"


def _draw_box(
    random: np.random.Generator, source: Source, known: Sequence[tuple[int, int]], edge: int
) -> tuple[list[int], list[int]]:
    """Low and high corner of a box centred where something is known."""
    low, high = [], []
    for size, (first, last) in zip(source.raw.shape, known, strict=True):
        start = int(random.integers(first, last)) - edge // 2
        low.append(max(0, min(start, size - edge)))
        high.append(min(size, low[-1] + edge))
    return low, high


def _find(module: AffinityTraining, source: Source, low: Sequence[int], high: Sequence[int]) -> Places:
    """Errors of the averaged network in a box of a source."""
    from connectomics.segmentation.settings import SegmentationSettings
    from connectomics.segmentation.whole import segment_array

    settings = module.settings
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    outer = tuple(
        slice(max(0, a - _CONTEXT), min(n, b + _CONTEXT))
        for a, b, n in zip(low, high, source.raw.shape, strict=True)
    )
    score = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))
    part = replace(source, raw=source.raw[outer].to(module.device), score=score)
    offsets = settings.targets.offsets
    affinities = predict_source(module.average, part, divisor_of(settings.network), len(offsets))
    values = settings.validation.segmentation | {"outline": 0.0}  # merges lie in what an outline takes
    segmentation = SegmentationSettings.parse(values)
    image = source.normalised(box) if segmentation.grey_penalty else None
    segments = segment_array(affinities, offsets, segmentation, image)[3]
    labels = source.labels[box].cpu().numpy() if source.traces is None else source.traces[box].clip(0)
    places = find_places(segments, labels, affinities, settings.data.voxel_size)
    return replace(places, voxels=places.voxels + np.array(low, np.int32))


def _write(path: Path, found: dict[int, Places]) -> None:
    arrays: dict[str, Any] = {}
    for number, places in sorted(found.items()):
        arrays[f"voxels{number:04d}"] = places.voxels
        arrays[f"weights{number:04d}"] = places.weights
        arrays[f"merges{number:04d}"] = places.merges
    whole = io.BytesIO()
    np.savez_compressed(whole, allow_pickle=False, **arrays)
    write_atomically(path, whole.getvalue())


def _read(path: Path) -> dict[int, Places]:
    with np.load(path, allow_pickle=False) as kept:
        numbers = [int(name.removeprefix("voxels")) for name in kept.files if name.startswith("voxels")]
        return {
            n: Places(kept[f"voxels{n:04d}"], kept[f"weights{n:04d}"], kept[f"merges{n:04d}"])
            for n in numbers
        }
