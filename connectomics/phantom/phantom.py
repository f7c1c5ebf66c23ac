"""The phantom: labels, X-ray, EM and skeletons of one endless piece of white matter, box by box."""

from collections.abc import Iterator
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import GeometryError
from connectomics.io.skeletons import Skeletons
from connectomics.phantom.deformation import make_warp
from connectomics.phantom.em import NOISE, fill_em
from connectomics.phantom.geometry import Scene, fill_labels, make_scene
from connectomics.phantom.settings import PhantomSettings
from connectomics.phantom.skeletons import trace_skeletons
from connectomics.phantom.table import holds_fibres
from connectomics.phantom.tissue import make_tissue
from connectomics.phantom.variation import Variation
from connectomics.phantom.xray import draw_look, fill_xray
from connectomics.roi import Roi

T = TypeVar("T", bound=np.generic)
Box = tuple[slice, slice, slice]

_TILE = 96
"""Voxels along the edge of the pieces a box is computed in; it bounds memory and never changes a value."""


class Phantom:
    """White matter without end: a function of the seed and of place alone.

    Voxel (0, 0, 0) has its low corner at world 0; boxes may start anywhere, negative voxels too. A box
    computed alone equals the same box cut from a larger one, labels and renderings. Cheap to construct.

    Parameters
    ----------
    settings
        Seed, voxel size, difficulty and density.
    variation
        Changes of tissue and look, for families of volumes that differ; the frozen phantom has none.
    """

    def __init__(self, settings: PhantomSettings | None = None, variation: Variation | None = None) -> None:
        self.settings, change = settings or PhantomSettings(), variation or Variation()
        tissue: dict[str, Any] = dict(change.tissue)
        self._tissue = make_tissue(self.settings)._replace(**tissue)
        look = draw_look(self.settings)
        self._look = look._replace(**{name: getattr(look, name) * by for name, by in change.look.items()})
        self._em_noise = NOISE[self.settings.difficulty] * change.em_noise
        self._voxel = self.settings.voxel_size / 1000

    def labels(self, box: Box) -> NDArray[np.uint64]:
        """Axon interiors, inside the myelin, by fibre; 0 in myelin, between fibres and in cell bodies.

        Parameters
        ----------
        box
            Voxel slices (z, y, x), step 1.

        Returns
        -------
        ndarray of uint64, (z, y, x)
            Labels below 2^53, the same for a fibre wherever it is met.
        """
        low, shape = _corner(box)
        out = np.zeros(shape, np.uint64)
        for start, part in _tiles(shape):
            first = low + start
            if self._tissue.active < 1.0 and not self._holds_fibres(first, part):
                continue
            fill_labels(self._scene(first, part), self._voxel, tuple(first.tolist()), _cut(out, start, part))
        return out

    def xray(self, box: Box) -> NDArray[np.uint8]:
        """X-ray grey values: myelin dark, axons bright, blurred to 100 nm, with fringes, noise and streaks.

        Parameters
        ----------
        box
            Voxel slices (z, y, x), step 1.
        """
        low, shape = _corner(box)
        out = np.zeros(shape, np.uint8)
        for start, part in _tiles(shape, 2 * _TILE):
            fill_xray(self._tissue, self._look, self._voxel, low + start, _cut(out, start, part))
        return out

    def em(self, box: Box) -> NDArray[np.uint8]:
        """EM grey values at the voxel size: membranes dark, myelin darkest, mitochondria, noise.

        Parameters
        ----------
        box
            Voxel slices (z, y, x), step 1.
        """
        low, shape = _corner(box)
        out = np.zeros(shape, np.uint8)
        for start, part in _tiles(shape):
            first = low + start
            scene, corner = self._scene(first, part), tuple(first.tolist())
            fill_em(scene, self._voxel, self._em_noise, corner, _cut(out, start, part))
        return out

    def skeletons(self, roi: Roi) -> Skeletons:
        """Seed lines of the axons inside `roi`, nodes every 0.4 um or so, ids = labels, inner radii.

        Every node lies in a voxel of its own label. Axons too thin to be told at 100 nm are left out (they
        are labelled all the same); one that leaves the box and comes back keeps its id, with no edge between.
        """
        return trace_skeletons(self._tissue, self._voxel, roi)

    def _holds_fibres(self, first: NDArray[np.int64], shape: NDArray[np.int64]) -> bool:
        low, high = first * self._voxel, (first + shape) * self._voxel
        return holds_fibres(self._tissue, make_warp(self._tissue, low, high))

    def _scene(self, first: NDArray[np.int64], shape: NDArray[np.int64]) -> Scene:
        return make_scene(self._tissue, first * self._voxel, (first + shape) * self._voxel)


def _corner(box: Box) -> tuple[NDArray[np.int64], tuple[int, int, int]]:
    for s in box:
        if s.start is None or s.stop is None or s.step not in (None, 1) or s.stop < s.start:
            raise GeometryError(f"box: expected slices with start <= stop and step 1, got {box}.")
    z, y, x = (s.stop - s.start for s in box)
    return np.asarray([s.start for s in box], np.int64), (z, y, x)


def _tiles(
    shape: tuple[int, int, int], edge: int = _TILE
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for start in product(*(range(0, n, edge) for n in shape)):
        low = np.asarray(start, np.int64)
        yield low, np.minimum(edge, np.asarray(shape) - low)


def _cut(array: NDArray[T], start: NDArray[np.int64], shape: NDArray[np.int64]) -> NDArray[T]:
    z, y, x = (slice(a, a + n) for a, n in zip(start.tolist(), shape.tolist(), strict=True))
    return array[z, y, x]
