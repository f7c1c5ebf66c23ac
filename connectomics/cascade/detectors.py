"""Scores of chunks at a coarse level: from grey values alone, or from a network with a detector head."""

import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from connectomics.cascade.settings import Classical, Detector
from connectomics.errors import ModelError
from connectomics.inference.normalisation import Affine, sample_affine
from connectomics.inference.settings import InferenceSettings
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple

if TYPE_CHECKING:
    from connectomics.inference.predictor import Predictor
    from connectomics.networks.models import Model

Box = tuple[slice, slice, slice]
Score = Callable[[Box], NDArray[np.float32]]
"""Scores (z, y, x) of the chunks in a box, given in chunks."""

GROUP = 2
"""Chunks along each axis that are best scored together: those in one chunk of the level above."""

_PATCH = 4
"""Edge, in voxels, of what local variance is measured in."""

_KEPT = 4
_predictors: dict[tuple[str, str], "Predictor"] = {}
_LOADING = threading.Lock()


def scorer(detector: Detector, volume: Volume, chunk: IntTriple, inference: InferenceSettings) -> Score:
    """What scores boxes of chunks of one coarse level of a volume.

    Parameters
    ----------
    detector
        What looks.
    volume
        The level; sampled once for its mean and deviation.
    chunk
        Voxels of a chunk.
    inference
        How to run a network, where the detector is one.

    Raises
    ------
    InputError
        The volume is constant, or the model is no detector.
    """
    if detector.method == "model":
        return _network_scorer(detector, volume, chunk, inference)
    affine = sample_affine(volume.read_box, volume.shape)
    return ClassicalScorer(detector, volume, chunk, affine)


def scores_of(score: Score, box: Box, there: IntTriple) -> NDArray[np.float32]:
    """Scores of a box of chunks; the neighbour's where the level lacks a volume's last, cut voxels.

    Parameters
    ----------
    score
        Of the level.
    box
        Chunks; may reach past the level's last ones.
    there
        Chunks that the level has along z, y, x.
    """
    z, y, x = (slice(min(s.start, n - 1), min(s.stop, n)) for s, n in zip(box, there, strict=True))
    found = score((z, y, x))
    lacking = [(0, s.stop - s.start - n) for s, n in zip(box, found.shape, strict=True)]
    result: NDArray[np.float32] = np.pad(found, lacking, mode="edge")
    return result


class ClassicalScorer:
    """Scores from grey values: standardised by the volume's mean and deviation, smoothed, and ranked."""

    def __init__(self, detector: Detector, volume: Volume, chunk: IntTriple, affine: Affine) -> None:
        self._detector, self._volume, self._chunk, self._affine = detector, volume, chunk, affine

    def __call__(self, box: Box) -> NDArray[np.float32]:
        """Scores (z, y, x) of the chunks in a box; a chunk's score depends on nothing but its place."""
        from scipy.ndimage import gaussian_filter

        halo = math.ceil(3 * self._detector.smooth)
        inner = voxels(box, self._chunk, self._volume.shape)
        outer = tuple(
            slice(max(0, s.start - halo), min(n, s.stop + halo))
            for s, n in zip(inner, self._volume.shape, strict=True)
        )
        image = self._affine.apply(self._volume.read_box((outer[0], outer[1], outer[2])))
        if self._detector.smooth:
            image = gaussian_filter(image, self._detector.smooth, truncate=3.0, mode="nearest")
        cut = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(inner, outer, strict=True))
        return chunk_scores(image[cut], self._chunk, self._detector)


class _Predicts(Protocol):
    def predict_box(self, read: Any, shape: Sequence[int], box: Box, turn: Any) -> NDArray[np.uint8]: ...


def _network_scorer(
    detector: Detector, volume: Volume, chunk: IntTriple, inference: InferenceSettings
) -> Score:
    from connectomics.inference.predictor import affine_for
    from connectomics.networks.models import check_fits, find_model

    model = find_model(detector.model or "", "detector")
    if [head.kind for head in model.contract.heads] != ["detector"]:
        raise ModelError(
            f"model '{model.contract.name}': is no detector; train one with targets.detector = true."
        )
    check_fits(model, volume.voxel_size)
    # its own tiles, whatever those of the fine network: as calibrated, and hardly more computed than is asked
    # for, since the chunks in a coarser one that passed are `GROUP` along each axis
    own = inference.model_copy(update={"tile": GROUP * max(chunk), "margin": None, "flips": 1})
    affine = affine_for(model.contract, volume.read_box, volume.shape)
    predictor: _Predicts = _loaded(model, own, volume).over(affine)
    # chunks of one block may be asked for from several threads, one of which is at the network
    turn = threading.Lock()

    def score(box: Box) -> NDArray[np.float32]:
        inner = voxels(box, chunk, volume.shape)
        found = predictor.predict_box(volume.read_box, volume.shape, inner, turn)[0]
        return _per_chunk(found.astype(np.float32) / 255, chunk, lambda values: values.max())

    return score


def _loaded(model: "Model", own: InferenceSettings, volume: Volume) -> "Predictor":
    """A predictor with the network of a detector, which is loaded once for all volumes."""
    from connectomics.inference.predictor import predictor_for

    key = (model.sha256, own.model_dump_json())
    with _LOADING:
        if key not in _predictors:
            while len(_predictors) >= _KEPT:
                del _predictors[next(iter(_predictors))]
            _predictors[key] = predictor_for(model, own, volume.read_box, volume.shape)
        return _predictors[key]


def voxels(box: Box, chunk: IntTriple, shape: IntTriple) -> Box:
    """A box of chunks in voxels."""
    z, y, x = (slice(s.start * c, min(n, s.stop * c)) for s, c, n in zip(box, chunk, shape, strict=True))
    return z, y, x


def chunk_scores(image: NDArray[np.float32], chunk: IntTriple, detector: Detector) -> NDArray[np.float32]:
    """Scores of an image's chunks, in standard deviations; higher is likelier to hold something.

    Parameters
    ----------
    image
        (z, y, x), standardised and smoothed; the chunks at its far ends may be cut.
    chunk
        Voxels of a chunk.
    detector
        Method and share.
    """
    method: Classical = detector.method  # type: ignore[assignment]
    share = detector.share
    rank: dict[str, Callable[[NDArray[np.float32]], float]] = {
        "dark": lambda values: -_quantile(values, share),
        "bright": lambda values: _quantile(values, 1 - share),
        "variance": _largest_deviation,
    }
    return _per_chunk(image, chunk, rank[method])


def _quantile(values: NDArray[np.float32], share: float) -> float:
    flat = values.ravel()
    place = round(share * (len(flat) - 1))
    return float(np.partition(flat, place)[place])


def _largest_deviation(values: NDArray[np.float32]) -> float:
    whole = [max(1, n // _PATCH) * min(_PATCH, n) for n in values.shape]
    z, y, x = (min(_PATCH, n) for n in values.shape)
    patches = values[: whole[0], : whole[1], : whole[2]].reshape(
        whole[0] // z, z, whole[1] // y, y, whole[2] // x, x
    )
    return float(patches.std(axis=(1, 3, 5)).max())


def _per_chunk(
    image: NDArray[np.float32], chunk: IntTriple, measure: Callable[[NDArray[np.float32]], float]
) -> NDArray[np.float32]:
    shape = [math.ceil(n / c) for n, c in zip(image.shape, chunk, strict=True)]
    found = np.empty(shape, np.float32)
    for index in np.ndindex(*shape):
        part = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunk, strict=True))
        found[index] = measure(image[part])
    return found
