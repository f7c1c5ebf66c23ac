"""Judge a translation on held-out pairs: error, PSNR, SSIM, likelihood, misregistration, and calibration."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.nn.modules.dropout import _DropoutNd

from connectomics.inference.calibration import calibrate, coverage, total_deviation
from connectomics.inference.passes import DROPOUT_PASSES, Pass, plan_passes
from connectomics.networks.build import divisor_of
from connectomics.networks.contract import UncertaintyScales
from connectomics.roi import IntTriple
from connectomics.training.pairs import PairSource
from connectomics.training.settings import TrainSettings
from connectomics.training.translation_losses import LOG_VARIANCE

Image = NDArray[np.float32]

_TILE = 32
"""Input voxels along the edge of a tile's core."""

_CHECKED = 16
"""Target voxels along the edge of the blocks that take turns in fitting a calibration and checking it."""


def default_samples(settings: TrainSettings) -> int:
    """Passes with which a run's uncertainty is calibrated."""
    asked = settings.translation.samples if settings.translation else None
    if asked is not None:
        return asked
    return settings.members if settings.members > 1 or not settings.network.dropout else DROPOUT_PASSES


def translate_pair(
    networks: Sequence[nn.Module], source: PairSource, settings: TrainSettings, passes: Sequence[Pass]
) -> tuple[Image, Image, Image, Image]:
    """Translate the scored part of a pair, tile by tile.

    Returns
    -------
    mean, aleatoric, epistemic, truth
        (z, y, x) at the target's voxels, standardised: the mean over passes, the root of the mean variance
        that they predict (0 without a head for it), their standard deviation (unbiased; 0 of one pass), and
        the target.
    """
    shape, factor, margin = source.raw.shape, source.factor, settings.export.margin
    divisor = divisor_of(settings.network)
    found = np.zeros((3, *source.target.shape), np.float32)
    for core in itertools.product(*(range(0, n, _TILE) for n in shape)):
        low = [max(0, (a - m) // d * d) for a, m, d in zip(core, margin, divisor, strict=True)]
        stop = [min(a + _TILE, n) for a, n in zip(core, shape, strict=True)]
        high = [min(n, b + m) for n, b, m in zip(shape, stop, margin, strict=True)]
        raw = source.raw[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        answer = _run_passes(networks, (raw.float() - source.mean) / source.std, divisor, passes)
        inner = [slice((a - o) * f, (b - o) * f) for a, b, o, f in zip(core, stop, low, factor, strict=True)]
        box = tuple(slice(a * f, b * f) for a, b, f in zip(core, stop, factor, strict=True))
        found[(slice(None), *box)] = answer[(slice(None), *inner)].cpu().numpy()
    part = tuple(
        slice(s.indices(n)[0] * f, s.indices(n)[1] * f)
        for s, n, f in zip(source.score, shape, factor, strict=True)
    )
    truth = (source.target[part].float() - source.target_mean) / source.target_std
    mean, aleatoric, epistemic = (values[part] for values in found)
    return mean, aleatoric, epistemic, truth.cpu().numpy()


def _run_passes(
    networks: Sequence[nn.Module], image: torch.Tensor, divisor: IntTriple, passes: Sequence[Pass]
) -> torch.Tensor:
    """(3, z, y, x): mean, aleatoric and epistemic deviation of one tile; padded to the divisor meanwhile."""
    lacking = [-n % d for n, d in zip(image.shape, divisor, strict=True)]
    padded = functional.pad(
        image[None, None], [p for n in reversed(lacking) for p in (0, n)], mode="replicate"
    )
    grey, variance = [], []
    for one in passes:
        network, along = networks[one.member], [axis + 2 for axis in one.axes]
        with _dropping(network, one.seed is not None), torch.inference_mode():
            output = network(padded.flip(along) if along else padded).float().flip(along)[0]
        grey.append(output[0])
        if len(output) > 1:
            variance.append(output[1].clamp(*LOG_VARIANCE).exp())
    values = torch.stack(grey)
    aleatoric = torch.stack(variance).mean(0).sqrt() if variance else torch.zeros_like(values[0])
    epistemic = values.std(0) if len(values) > 1 else torch.zeros_like(values[0])
    return torch.stack([values.mean(0), aleatoric, epistemic])


@contextmanager
def _dropping(network: nn.Module, wanted: bool) -> Iterator[None]:
    layers = [module for module in network.modules() if isinstance(module, _DropoutNd)] if wanted else []
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


def score_translation(
    network: nn.Module, sources: Sequence[PairSource], settings: TrainSettings
) -> dict[str, float]:
    """Scores of one network on held-out pairs, one pass each, means over the pairs.

    Returns
    -------
    dict
        l1 (standard deviations of the target), psnr (dB; range 255 for uint8), ssim, nll (nats a voxel; with
        a variance head), misregistration (target voxels: the shift at which translation and target fit best).
    """
    rows = [_scores(*translate_pair([network], source, settings, [Pass(0)]), source) for source in sources]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}


def _scores(mean: Image, aleatoric: Image, _: Image, truth: Image, source: PairSource) -> dict[str, float]:
    from skimage.metrics import structural_similarity
    from skimage.registration import phase_cross_correlation

    error = mean.astype(np.float64) - truth
    reach = 255 / source.target_std if source.target.dtype == torch.uint8 else float(np.ptp(truth))
    shift: Any = phase_cross_correlation(  # type: ignore[no-untyped-call]
        truth - truth.mean(), mean - mean.mean(), upsample_factor=10, normalization=None
    )[0]
    row = {
        "l1": float(np.abs(error).mean()),
        "psnr": 10 * math.log10(reach**2 / max(float((error**2).mean()), 1e-12)),
        "ssim": float(structural_similarity(truth, mean, data_range=reach)),  # type: ignore[no-untyped-call]
        "misregistration": float(np.linalg.norm(shift)),
    }
    if aleatoric.any():
        variance = aleatoric.astype(np.float64) ** 2
        row["nll"] = float(0.5 * np.mean(np.log(2 * math.pi * variance) + error**2 / variance))
    return row


def calibrate_on(
    networks: Sequence[nn.Module], sources: Sequence[PairSource], settings: TrainSettings
) -> tuple[UncertaintyScales, dict[str, float]]:
    """Calibrate an ensemble's uncertainty on held-out pairs.

    Returns
    -------
    scales
        Fitted to every scored voxel.
    scores
        coverage_0.5 and so on: of intervals fitted to every other block, on the blocks between.
    """
    passes = plan_passes(default_samples(settings), len(networks), settings.network.dropout > 0)
    columns = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        for source in sources:
            mean, aleatoric, epistemic, truth = translate_pair(networks, source, settings, passes)
            turn = (np.indices(mean.shape) // _CHECKED).sum(0) % 2
            columns.append(np.stack([v.ravel() for v in (mean - truth, aleatoric, epistemic, turn)]))
    error, aleatoric, epistemic, turn = np.concatenate(columns, 1)
    fitted, checked = turn == 0, turn == 1
    scores = {}
    if checked.sum() >= 1000:
        half = calibrate(error[fitted], aleatoric[fitted], epistemic[fitted])
        deviation = total_deviation(aleatoric[checked], epistemic[checked], half)
        scores = {f"coverage_{k}": v for k, v in coverage(error[checked], deviation, half).items()}
    return calibrate(error, aleatoric, epistemic).model_copy(update={"samples": len(passes)}), scores
