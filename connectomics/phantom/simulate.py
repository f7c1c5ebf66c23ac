"""An X-ray of any EM volume: coarser voxels, blur, phase fringes, noise, streaks, rings and drift."""

from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from connectomics.errors import GeometryError, InputError
from connectomics.io.volume import Box, Volume
from connectomics.phantom.settings import PhantomSettings
from connectomics.phantom.xray import HALO, RESOLUTION, Look, draw_look, expose
from connectomics.roi import IntTriple, Triple, triple
from connectomics.settings import Settings

_SAMPLED_BLOCKS, _SAMPLED_EDGE = 3, 32
_TILE = 64
"""Coarse voxels along the edge of the pieces a box is computed in; it bounds memory, and changes nothing."""


class XraySimulation(Settings):
    """How an X-ray is made of an EM volume. What is not given is drawn from the seed."""

    factor: IntTriple = (3, 3, 3)
    """EM voxels along z, y, x in one voxel of the X-ray."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the noise, the artefacts and the look."""
    difficulty: Literal["easy", "medium", "hard"] = "medium"
    """How noisy, streaky and low in contrast it is, as of phantoms."""
    dark: float | None = None
    """EM grey value of full density (membranes, myelin). Default: 5% quantile of a sample of the volume."""
    bright: float | None = None
    """EM grey value of no density (cytoplasm). Default: the 95% quantile of the sample."""
    blur: float | None = Field(default=None, gt=0, le=1.5)
    """Standard deviation of the optical blur, X-ray voxels."""
    fringe: float | None = Field(default=None, ge=0)
    """Strength of the phase fringes, relative to absorption."""
    noise: float | None = Field(default=None, ge=0)
    """Grey levels of noise, correlated over a voxel or two."""
    streaks: float | None = Field(default=None, ge=0)
    """Grey levels of streaks across the axis of rotation (z)."""
    rings: float | None = Field(default=None, ge=0)
    """Grey levels of rings around the axis of rotation."""
    drift: float | None = Field(default=None, ge=0)
    """Grey levels of slow drift."""

    @field_validator("factor")
    @classmethod
    def _positive(cls, value: IntTriple) -> IntTriple:
        if min(value) < 1:
            raise ValueError("must be at least 1 along each axis")
        return value

    def look(self) -> Look:
        """Grey levels and lengths: drawn from the seed, where these settings do not say."""
        drawn = draw_look(PhantomSettings(seed=self.seed, difficulty=self.difficulty))
        given = self.model_dump(include={"blur", "fringe", "noise", "streaks", "rings", "drift"})
        return drawn._replace(**{name: value for name, value in given.items() if value is not None})


class SimulatedXray:
    """The X-ray that an EM volume might have given; a function of volume, settings and place alone.

    A box computed alone equals the same box cut from a larger one. Dark in EM is dark in the X-ray. Beyond
    its borders the volume counts as mirrored; an incomplete last voxel is left out.

    Parameters
    ----------
    volume
        EM, (z, y, x).
    settings
        Factor, seed and look.

    Raises
    ------
    GeometryError
        The volume has channels, or is smaller than one voxel of the X-ray.
    InputError
        Its grey values do not vary.
    """

    def __init__(self, volume: Volume, settings: XraySimulation | None = None) -> None:
        self.settings = settings or XraySimulation()
        factor = self.settings.factor
        if volume.channels is not None:
            raise GeometryError(
                f"{volume.name}: expected a (z, y, x) volume, got {volume.channels} channels."
            )
        z, y, x = (n // f for n, f in zip(volume.shape, factor, strict=True))
        if min(z, y, x) < 1:
            raise GeometryError(f"{volume.name}: shape {volume.shape} is smaller than one voxel of {factor}.")
        self._volume = volume
        self.shape: IntTriple = (z, y, x)
        """Voxels along z, y, x."""
        self.voxel_size: Triple = triple([v * f for v, f in zip(volume.voxel_size, factor, strict=True)])
        """nm, zyx."""
        self.offset: Triple = volume.offset
        """World position of the low corner, nm, zyx: the EM volume's."""
        dark, bright = self.settings.dark, self.settings.bright
        if dark is None or bright is None:
            sampled = _grey_levels(volume)
            dark = sampled[0] if dark is None else dark
            bright = sampled[1] if bright is None else bright
        if dark == bright:
            raise InputError(f"{volume.name}: grey values do not vary: dark and bright are both {dark:g}.")
        self.levels = dark, bright
        """EM grey values of full density and of none."""
        self._look = self.settings.look()
        self._key = np.uint64(
            np.random.Generator(np.random.PCG64([self.settings.seed, 15485863])).integers(2**63)
        )

    def xray(self, box: Box) -> NDArray[np.uint8]:
        """Grey values of a box of X-ray voxels.

        Parameters
        ----------
        box
            Voxel slices (z, y, x) inside `shape`, step 1.
        """
        if any(s.start < 0 or s.stop > n or s.start >= s.stop for s, n in zip(box, self.shape, strict=True)):
            raise GeometryError(f"box: {box} is not inside the X-ray's shape {self.shape}.")
        low, shape = [s.start for s in box], [s.stop - s.start for s in box]
        out = np.empty(shape, np.uint8)
        for start in product(*(range(0, n, _TILE) for n in shape)):
            stop = [min(a + _TILE, n) for a, n in zip(start, shape, strict=True)]
            here = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
            first = np.array([a + b for a, b in zip(low, start, strict=True)], np.int64)
            out[here] = self._piece(first, [b - a for a, b in zip(start, stop, strict=True)])
        return out

    def _piece(self, first: NDArray[np.int64], shape: list[int]) -> NDArray[np.uint8]:
        dark, bright = self.levels
        density = (bright - self._downsampled(first, shape)) / (bright - dark)
        image = expose(density, self._key, self._look, RESOLUTION / 1000, first)
        grey: NDArray[np.uint8] = np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)
        return grey

    def _downsampled(self, first: NDArray[np.int64], shape: list[int]) -> NDArray[np.float64]:
        """Mean EM grey values of X-ray voxels, `HALO` more on each side, mirrored at the volume's borders."""
        factor = self.settings.factor
        wanted = [np.arange(a - HALO, a + n + HALO) for a, n in zip(first, shape, strict=True)]
        places = [_mirrored(index, n) for index, n in zip(wanted, self.shape, strict=True)]
        low, high = [int(p.min()) for p in places], [int(p.max()) + 1 for p in places]
        z, y, x = (slice(a * f, b * f) for a, b, f in zip(low, high, factor, strict=True))
        fine = self._volume.read_box((z, y, x)).astype(np.float64)
        if not np.isfinite(fine).all():
            raise InputError(f"{self._volume.name}: holds NaN or infinite grey values.")
        cells = [n for a, b, f in zip(low, high, factor, strict=True) for n in (b - a, f)]
        coarse = fine.reshape(cells).mean((1, 3, 5))
        return coarse[np.ix_(*(p - a for p, a in zip(places, low, strict=True)))]


def _mirrored(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices beyond an axis of `size` voxels, mirrored back into it."""
    within = index % (2 * size)
    return np.minimum(within, 2 * size - 1 - within)


def _grey_levels(volume: Volume) -> tuple[float, float]:
    """5% and 95% quantile over blocks spread evenly through a volume: the same at every call."""
    starts = [
        np.unique(np.linspace(0, max(0, n - _SAMPLED_EDGE), _SAMPLED_BLOCKS).astype(int))
        for n in volume.shape
    ]
    values = []
    for corner in product(*starts):
        z, y, x = (
            slice(int(a), min(int(a) + _SAMPLED_EDGE, n)) for a, n in zip(corner, volume.shape, strict=True)
        )
        values.append(volume.read_box((z, y, x)).ravel())
    dark, bright = np.quantile(np.concatenate(values), (0.05, 0.95))
    return float(dark), float(bright)
