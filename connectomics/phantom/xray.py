"""X-ray rendering: absorption and phase fringes at 100 nm, with noise, streaks, rings and slow drift."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.phantom.fibres import BARE
from connectomics.phantom.geometry import CELL_BODY, depth_in, locate, make_scene
from connectomics.phantom.hashing import combine, noise_3d, normal_at
from connectomics.phantom.sections import AXON, MITO, MITO_U, MITO_V, OUTER
from connectomics.phantom.settings import PhantomSettings
from connectomics.phantom.table import is_blank
from connectomics.phantom.tissue import Tissue

RESOLUTION = 100.0
"""Edge of the samples that carry all information, nm."""

HALO = 6
"""Coarse samples of context that blur and fringes need on each side."""

_FINENESS = 2
_GLIA = 0.36
_STREAK_DIRECTIONS = 5


class Look(NamedTuple):
    """How one seed's X-ray volume looks: grey levels, and lengths in coarse samples."""

    level: float  # grey of extracellular space
    contrast: float  # grey levels from axon to myelin
    blur: float
    fringe: float
    fringe_blur: float
    noise: float  # grey levels, correlated over a sample or two
    streaks: float
    rings: float
    drift: float


_NOISE = {"easy": (7.0, 3.0), "medium": (16.0, 9.0), "hard": (22.0, 16.0)}
_CONTRAST = {"easy": 105.0, "medium": 88.0, "hard": 72.0}


def draw_look(settings: PhantomSettings) -> Look:
    """Draw the look of a seed, so that a model cannot lean on one setting."""
    generator = np.random.Generator(np.random.PCG64([settings.seed, 104729]))
    a, b, c, d, e, f, g, h = (float(v) for v in generator.uniform(-1, 1, 8))
    noise, streaks = _NOISE[settings.difficulty]
    return Look(
        level=128.0 + 8.0 * a,
        contrast=_CONTRAST[settings.difficulty] * (1.0 + 0.12 * b),
        blur=0.7 + 0.12 * c,
        fringe=0.5 + 0.2 * d,
        fringe_blur=1.5 + 0.15 * e,
        noise=noise * (1.0 + 0.15 * f),
        streaks=streaks * (1.0 + 0.25 * g),
        rings=0.35 * streaks * (1.0 + 0.4 * h),
        drift=6.0 + 2.0 * g,
    )


@njit(cache=True, nogil=True)
def _ramp(depth, start):  # type: ignore[no-untyped-def]
    return min(1.0, max(0.0, (depth - start) / 0.04 + 0.5))


@njit(cache=True, nogil=True)
def _inside(scene, index, nearest, u, v):  # type: ignore[no-untyped-def]
    """Optical density of a point owned by a section: 0 axon, 1 myelin, 0.42 between the fibres."""
    table = scene.table
    if table.kind[index] < BARE:
        return _GLIA
    outer, axon = table.profile[index, OUTER], table.profile[index, AXON]
    if nearest <= outer - 0.02:
        return 0.42
    depth = nearest if nearest > axon + 0.15 else depth_in(table, index, nearest, u, v)
    rim, core = _ramp(depth, outer), _ramp(depth, axon)
    density = 0.42 + 0.58 * rim - core
    size = table.profile[index, MITO]
    if size > 0.0 and core > 0.0:
        du = u - table.seed[index, 0] - table.profile[index, MITO_U]
        dv = v - table.seed[index, 1] - table.profile[index, MITO_V]
        if du * du + dv * dv < size * size:
            density += 0.45 * core
    return density


@njit(cache=True, nogil=True)
def _density(scene, z, y, x, guess):  # type: ignore[no-untyped-def]
    index, nearest, u, v = locate(scene, z, y, x, guess)
    if index == CELL_BODY:
        nucleus = _ramp(nearest, 0.7)
        texture = noise_3d(combine(scene.tissue.key, 81), z / 0.5, y / 0.5, x / 0.5)
        return index, 0.30 + nucleus * (0.12 + 0.16 * texture) + 0.3 * (1.0 - _ramp(nearest, 0.03))
    if index < 0:
        return index, 0.42
    return index, _inside(scene, index, nearest, u, v)


@njit(cache=True, nogil=True)
def _sample(scene, edge, low, out):  # type: ignore[no-untyped-def]
    step = edge / _FINENESS
    out[:] = 0.0
    for i in range(out.shape[0] * _FINENESS):
        z = (low[0] * _FINENESS + i + 0.5) * step
        for j in range(out.shape[1] * _FINENESS):
            y = (low[1] * _FINENESS + j + 0.5) * step
            guess = -1
            for k in range(out.shape[2] * _FINENESS):
                x = (low[2] * _FINENESS + k + 0.5) * step
                guess, value = _density(scene, z, y, x, guess)
                out[i // _FINENESS, j // _FINENESS, k // _FINENESS] += value / _FINENESS**3


@njit(cache=True, nogil=True)
def _blur_last(values, weights, out):  # type: ignore[no-untyped-def]
    reach = weights.shape[0] - 1
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                total = weights[0] * values[i, j, k + reach]
                for n in range(1, reach + 1):
                    total += weights[n] * (values[i, j, k + reach - n] + values[i, j, k + reach + n])
                out[i, j, k] = total


def blur(values: NDArray[np.float64], sigma: float, reach: int) -> NDArray[np.float64]:
    """Gaussian blur that cuts `reach` samples off every side, so that nothing is assumed beyond the array."""
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weights /= weights[0] + 2 * weights[1:].sum()
    for _ in range(3):
        shape = (*values.shape[:2], values.shape[2] - 2 * reach)
        out = np.empty(shape)
        _blur_last(np.ascontiguousarray(values), weights, out)
        values = np.moveaxis(out, 2, 0)
    return np.ascontiguousarray(values)


@njit(cache=True, nogil=True)
def _noise(key, low, out):  # type: ignore[no-untyped-def]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                out[i, j, k] = normal_at(combine(key, 90), low[0] + i, low[1] + j, low[2] + k)


@njit(cache=True, nogil=True)
def _artefacts(key, edge, low, look, out):  # type: ignore[no-untyped-def]
    """Add streaks along lines across the rotation axis (z), rings around it, and slow drift."""
    for i in range(out.shape[0]):
        z = (low[0] + i + 0.5) * edge
        for j in range(out.shape[1]):
            y = (low[1] + j + 0.5) * edge
            for k in range(out.shape[2]):
                x = (low[2] + k + 0.5) * edge
                streaks = 0.0
                for n in range(_STREAK_DIRECTIONS):
                    line = combine(key, 91 + n)
                    turn = 3.141592653589793 * (n + 0.7 * np.float64(line & np.uint64(1023)) / 1023.0)
                    turn /= _STREAK_DIRECTIONS
                    across, along = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
                    streaks += noise_3d(line, z / 0.13, across / 0.16, along / 4.0)
                dy, dx = y + 37.0, x - 61.0
                ring = noise_3d(combine(key, 97), z / 0.5, np.sqrt(dy * dy + dx * dx) / 0.15, 0.5)
                slow = noise_3d(combine(key, 98), z / 14.0, y / 14.0, x / 14.0)
                out[i, j, k] += look.streaks * 1.3 * streaks + look.rings * 2.0 * ring + look.drift * slow


@njit(cache=True, nogil=True)
def _upsample(coarse, low_coarse, factor, low, out):  # type: ignore[no-untyped-def]
    for i in range(out.shape[0]):
        z = (low[0] + i + 0.5) / factor - 0.5
        a = np.int64(np.floor(z))
        fz, a = z - a, a - low_coarse[0]
        for j in range(out.shape[1]):
            y = (low[1] + j + 0.5) / factor - 0.5
            b = np.int64(np.floor(y))
            fy, b = y - b, b - low_coarse[1]
            for k in range(out.shape[2]):
                x = (low[2] + k + 0.5) / factor - 0.5
                c = np.int64(np.floor(x))
                fx, c = x - c, c - low_coarse[2]
                total = 0.0
                for m in range(2):
                    wz = fz if m else 1.0 - fz
                    for n in range(2):
                        wy = wz * (fy if n else 1.0 - fy)
                        row = coarse[a + m, b + n]
                        total += wy * ((1.0 - fx) * row[c] + fx * row[c + 1])
                out[i, j, k] = np.uint8(min(255.0, max(0.0, np.floor(total + 0.5))))


def fill_xray(
    tissue: Tissue, look: Look, voxel: float, low: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Write the X-ray grey values of the voxels (edge `voxel`, um) from index `low` on into `out`.

    The tissue's density is sampled on world-aligned coarse voxels (about `RESOLUTION`), blurred, given phase
    fringes (a difference of Gaussians), noise and artefacts, and interpolated linearly to the voxels.
    """
    factor = max(1, round(RESOLUTION / (1000 * voxel)))
    edge = voxel * factor
    first = np.floor((low + 0.5) / factor - 0.5).astype(np.int64)
    last = np.floor((low + np.asarray(out.shape) - 0.5) / factor - 0.5).astype(np.int64) + 2
    wide = last - first + 2 * HALO
    density = np.empty(tuple(wide.tolist()))
    corner = tuple((first - HALO).tolist())
    scene = make_scene(tissue, (first - HALO) * edge, (last + HALO) * edge)
    if is_blank(scene.table):
        density[:] = sum([_GLIA / _FINENESS**3] * _FINENESS**3)  # sampling adds up the same
    else:
        _sample(scene, edge, corner, density)
    image = expose(density, tissue.key, look, edge, first)
    _upsample(image, tuple(first.tolist()), factor, tuple(low.tolist()), out)


def expose(
    density: NDArray[np.float64], key: np.uint64, look: Look, edge: float, first: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Grey values of samples of known density: blur, phase fringes, noise and artefacts.

    Parameters
    ----------
    density
        (z, y, x) with `HALO` samples more on each side; 0 axon, 0.42 between fibres, 1 myelin.
    key
        What noise and artefacts are hashed from, beside the place.
    look
        Grey levels and lengths.
    edge
        Edge of a sample, um, by which streaks, rings and drift are laid out.
    first
        World index of the first sample after the halo.
    """
    sharp = blur(density, look.blur, HALO)
    soft = blur(density, look.fringe_blur, HALO)
    grain = np.empty(tuple(n + 4 for n in sharp.shape))
    _noise(key, tuple((first - 2).tolist()), grain)
    image = look.level - look.contrast * (sharp + look.fringe * (sharp - soft) - 0.42)
    image += 2.2 * look.noise * blur(grain, 0.6, 2)
    _artefacts(key, edge, tuple(first.tolist()), look, image)
    return image
