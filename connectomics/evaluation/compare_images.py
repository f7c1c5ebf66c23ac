"""Compare a translated volume with the real one, block by block, with its uncertainty where there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Block, Grid, grow, inside
from connectomics.blockwise.pool import Pool, Threads
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import map_blocks
from connectomics.errors import InputError
from connectomics.evaluation import membranes
from connectomics.evaluation.compare import any_channel, common_region
from connectomics.evaluation.image_quality import CUBE
from connectomics.evaluation.scores import json_ready
from connectomics.evaluation.translation import HALO, Measure, TranslationSums, measure
from connectomics.io.checks import sample_boxes
from connectomics.io.volume import Box, Volume
from connectomics.roi import IntTriple, Roi

BLOCK: IntTriple = (64, 128, 128)
"""Voxels (zyx) that are counted at once, whole spectrum cubes; about 250 MB with all that is made of them."""


def evaluate_image(
    found: Volume,
    truth: Volume,
    spreads: Sequence[Volume] = (),
    *,
    mask: Volume | None = None,
    roi: Roi | None = None,
    progress: Progress | None = None,
    pool: Pool | None = None,
) -> dict[str, Any]:
    """Score a grey image against the real one where they overlap.

    Parameters
    ----------
    found
        (z, y, x) image; its attributes may hold, as `translate` writes them, ``translation.intervals``.
    truth
        The real image on the same voxel grid. The range of grey values is 255 for uint8, and what samples of
        it span for any other type.
    spreads
        Standard deviations in grey levels on the same grid, such as aleatoric and epistemic; the total is the
        root of the sum of their squares.
    mask
        Only where it is non-zero is compared; spectra only of blocks that lie wholly inside.
    roi
        Compare this part only, nm.
    progress
        Told of the blocks compared.
    pool
        Where they are compared; one thread of this process by default.

    Returns
    -------
    dict
        Ready for JSON; see `translation.TranslationSums.scores`.

    Raises
    ------
    GeometryError
        The inputs do not share a voxel grid, or no voxel.
    InputError
        An input is no grey image, or the mask leaves nothing.
    """
    for volume in (found, truth):
        _check_grey(volume)
    others = [truth, *spreads, *([mask] if mask is not None else [])]
    region = common_region(found, others, roi)
    found, truth, *others = (volume.crop(region) for volume in (found, *others))
    translation = found.attributes.get("translation") or {}
    how = settle(truth, translation.get("intervals") or {})
    work = Measured(found, truth, others[: len(spreads)], others[len(spreads) :], how)
    sums = TranslationSums.empty()
    for part in map_blocks("evaluate", Grid(found.shape, BLOCK), work, pool or Threads(1), progress):
        sums.add(part)
    if mask is not None and not sums.errors[0]:
        raise InputError(f"{mask.name}: the mask is 0 everywhere in the region: nothing is left to compare.")
    return dict(json_ready(sums.scores(how.span)))


def settle(truth: Volume, intervals: Mapping[str, float]) -> Measure:
    """What blocks must agree on, from samples of the real image (the same at every call)."""
    samples = [truth.read_box(box).astype(np.float32) for box in sample_boxes(truth.shape, 2)]
    low, high = min(s.min() for s in samples), max(s.max() for s in samples)
    if not np.isfinite([low, high]).all() or low == high:
        raise InputError(f"{truth.name}: samples of it hold NaN or a single value; is it the real image?")
    dark = np.concatenate([membranes.darkness(sample).reshape(-1) for sample in samples])
    z, y, x = (min(CUBE, n) for n in truth.shape)
    span = 255.0 if truth.dtype == np.uint8 else float(high - low)
    return Measure(span, membranes.threshold(dark), truth.voxel_size, (z, y, x), dict(intervals))


@dataclass(frozen=True)
class Measured:
    """Counts one block of volumes that lie on one grid; see `evaluate_image`."""

    found: Volume
    truth: Volume
    spreads: Sequence[Volume]
    masks: Sequence[Volume]
    how: Measure

    def __call__(self, block: Block) -> TranslationSums:
        """Read the block with its surroundings and count it."""
        seen = grow(block.box, (HALO,) * 3, (HALO,) * 3, self.truth.shape)
        keep = np.ones([s.stop - s.start for s in seen], bool)
        for mask in self.masks:
            keep &= any_channel(mask.read_box(seen))
        images = [self._finite(volume, seen) for volume in (self.found, self.truth)]
        inner = inside(block.box, seen)
        return measure(images[0], images[1], self._total(block.box), keep, inner, self.how)

    def _total(self, box: Box) -> NDArray[np.float32] | None:
        if not self.spreads:
            return None
        squares = (np.square(self._finite(volume, box), dtype=np.float32) for volume in self.spreads)
        return np.sqrt(np.sum(list(squares), axis=0, dtype=np.float32))

    @staticmethod
    def _finite(volume: Volume, box: Box) -> NDArray[Any]:
        data = volume.read_box(box)
        if data.dtype.kind == "f" and not np.isfinite(data).all():
            raise InputError(f"{volume.name}: holds NaN or infinite voxels; replace them first.")
        return data


def _check_grey(volume: Volume) -> None:
    if volume.channels is not None:
        raise InputError(f"{volume.name}: expected a grey image (z, y, x), got {volume.channels} channels.")
    if volume.dtype.kind not in "uif" or (volume.dtype.kind in "ui" and volume.dtype.itemsize > 2):
        raise InputError(
            f"{volume.name}: expected a grey image, got {volume.dtype}; are these labels? A translation is "
            "compared with the real image."
        )
