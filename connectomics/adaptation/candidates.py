"""Crops of a volume that might be annotated: cut with context, predicted, and measured one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.adaptation.settings import SelectSettings, Strategy
from connectomics.adaptation.stakes import crop_at_stake
from connectomics.adaptation.strategies import best, binary_entropy, core_set, near_median
from connectomics.blockwise.progress import Progress
from connectomics.errors import GeometryError, InputError
from connectomics.inference.crop_places import Box, box_at, draw_crops, lattice
from connectomics.inference.normalisation import Affine, sample_affine
from connectomics.inference.predictor import Predictor, predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.io.volume import Volume
from connectomics.networks.models import Model
from connectomics.roi import IntTriple
from connectomics.segmentation.calibration import Calibration
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.uncertainty import voxel_uncertainty


@dataclass(frozen=True)
class Candidate:
    """A crop and what the strategy thinks of it.

    Attributes
    ----------
    corner : tuple of int
        First voxel in the volume.
    score : float
        The larger, the sooner.
    use : str
        ``fit``, or ``validation`` for one that is kept to score with.
    """

    corner: IntTriple
    score: float
    use: str = "fit"


class Surveyor:
    """A model on crops of one volume, each with the context that the model wants.

    Parameters
    ----------
    volume, model
        What runs on what; the voxel sizes fit.
    crop
        Voxels of a crop, zyx.
    inference
        How the network runs.
    """

    def __init__(self, volume: Volume, model: Model, crop: IntTriple, inference: InferenceSettings) -> None:
        self.volume, self.model, self.crop = volume, model, crop
        contract = model.contract
        self._predictor: Predictor = predictor_for(model, inference, volume.read_box, volume.shape)
        self.affine: Affine = self._predictor.affine
        self.spread = sample_affine(volume.read_box, volume.shape).std
        """Standard deviation of the volume's grey values."""
        self._segmentation = SegmentationSettings.parse(contract.segmentation, "contract: segmentation")
        self._calibration = Calibration.parse(contract.calibration)

    def with_context(self, corner: IntTriple) -> Box:
        """The crop and the model's margin around it, as far as the volume goes."""
        margin = self.model.contract.margin
        z, y, x = (
            slice(max(0, a - m), min(n, a + c + m))
            for a, c, m, n in zip(corner, self.crop, margin, self.volume.shape, strict=True)
        )
        return z, y, x

    def affinities(self, corner: IntTriple) -> NDArray[np.uint8]:
        """What the model says of a crop, (c, z, y, x)."""
        outer = self.with_context(corner)
        raw = self.volume.read_box(outer)
        inner = box_at([a - s.start for a, s in zip(corner, outer, strict=True)], self.crop)
        return self._predictor.predict_box(raw.__getitem__, raw.shape, inner)

    def proposal(self, corner: IntTriple) -> NDArray[np.uint64]:
        """The model's segmentation of a crop."""
        return self._at_stake(corner, self.affinities(corner))[1]

    def measure(self, corner: IntTriple, strategy: Strategy) -> float:
        """What a strategy looks at: uncertainty 0..255, entropy in bits, or run length at stake in nm."""
        affinities = self.affinities(corner)
        if strategy == "entropy":
            return binary_entropy(affinities[:3])
        if strategy == "run-length":
            return self._at_stake(corner, affinities)[0]
        return float(voxel_uncertainty(affinities, self._calibration.voxels).mean(dtype=np.float64))

    def _at_stake(self, corner: IntTriple, affinities: NDArray[np.uint8]) -> tuple[float, NDArray[np.uint64]]:
        offsets, size = self.model.contract.offsets, self.volume.voxel_size
        image = self.affine.apply(self.volume.read_box(box_at(corner, self.crop)))
        return crop_at_stake(affinities, offsets, size, self._segmentation, self._calibration, image)


def find_candidates(
    volume: Volume, box: Box, settings: SelectSettings, scale: float, taken: Sequence[Box], wanted: int
) -> list[IntTriple]:
    """First voxels of crops side by side inside a box that hold an image and overlap nothing that is taken.

    Parameters
    ----------
    volume, box
        Where.
    settings
        Crop, how many, and the seed of the draw.
    scale
        Standard deviation of the volume's grey values.
    taken
        Boxes that are annotated already.
    wanted
        At least so many must be found.

    Raises
    ------
    GeometryError
        The crop is larger than the box.
    InputError
        There are fewer.
    """
    low, high = [s.start for s in box], [s.stop for s in box]
    if any(b - a < c for a, b, c in zip(low, high, settings.crop, strict=True)):
        edges = tuple(b - a for a, b in zip(low, high, strict=True))
        raise GeometryError(
            f"{volume.name}: crops of {settings.crop} voxels do not fit into {edges}. Choose a smaller "
            "--crop or a larger region."
        )
    corners = [
        corner
        for corner in lattice(low, high, settings.crop)
        if not any(_meet(box_at(corner, settings.crop), other) for other in taken)
    ]
    count = max(settings.candidates, wanted)
    found = draw_crops(volume.read_box, corners, settings.crop, count, scale, settings.seed)[0]
    if len(found) < wanted:
        raise InputError(
            f"{volume.name}: {wanted} crops of {settings.crop} voxels were asked for, but only {len(found)} "
            "that do not overlap hold tissue. Ask for fewer, or choose a smaller --crop or a larger region."
        )
    return found


def _meet(one: Box, other: Box) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def choose(
    surveyor: Surveyor, corners: Sequence[IntTriple], count: int, settings: SelectSettings, progress: Progress
) -> list[Candidate]:
    """The crops to annotate, first those most worth it, then those to be held out."""
    held_out = [Candidate(corner, 0.0, "validation") for corner in corners[: settings.held_out]]
    left = list(corners[settings.held_out :])  # they come in random order
    if settings.strategy == "random":
        return [Candidate(corner, 0.0) for corner in left[:count]] + held_out
    progress.start("survey", len(left), 0, "crops")
    if settings.strategy == "core-set":
        features = _features(surveyor, left)
        progress.advance("survey", len(left))
        chosen, scores = core_set(features, count)
    else:
        values = np.empty(len(left))
        for number, corner in enumerate(left):
            values[number] = surveyor.measure(corner, settings.strategy)
            progress.advance("survey")
        all_scores = near_median(values) if settings.strategy == "median-uncertainty" else values
        chosen = best(all_scores, count)
        scores = all_scores[chosen]
    progress.finish("survey")
    picked = zip(chosen, scores, strict=True)
    return [Candidate(left[number], float(score)) for number, score in picked] + held_out


def _features(surveyor: Surveyor, corners: Sequence[IntTriple]) -> NDArray[np.float32]:
    """The model's own deepest activations of each crop."""
    from connectomics.inference.activations import pooled_activations
    from connectomics.inference.crop_places import crop_shape
    from connectomics.networks.checkpoint import load_network
    from connectomics.networks.layers import deepest_layer

    contract = surveyor.model.contract
    network = load_network(surveyor.model)
    shape = crop_shape(surveyor.crop, surveyor.crop, contract.divisor)
    if any(s > c for s, c in zip(shape, surveyor.crop, strict=True)):
        raise GeometryError(
            f"--crop {surveyor.crop}: smaller than what the network looks at, {contract.divisor}; choose "
            "a larger crop or another --strategy."
        )
    layer = deepest_layer(network, contract.in_channels, contract.divisor)
    crops = (surveyor.affine.apply(surveyor.volume.read_box(box_at(corner, shape))) for corner in corners)
    return pooled_activations(network, layer, crops)
