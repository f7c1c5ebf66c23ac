"""The smooth deformation that carries straight bundles into the tissue, and its inverse."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectomics.phantom.hashing import combine, noise_3d
from connectomics.phantom.tissue import Tissue

SPACING = 0.4
"""Spacing of the world-aligned knots between which the displacement is linear, um."""

STRAIN = 0.055
"""Amplitude of each octave over its wavelength; the map folds between 0.10 and 0.15."""

LARGEST = STRAIN * (30.0 + 12.0 + 4.8)
"""Bound of any component of the displacement, um."""


class Warp(NamedTuple):
    """Displacements at the knots around a box: `values` (z, y, x, 3) um, `low` the index of knot 0."""

    values: NDArray[np.float64]
    low: tuple[int, int, int]


@njit(cache=True, nogil=True)
def knot_displacement(key, kz, ky, kx, out):  # type: ignore[no-untyped-def]
    """Write the displacement (um) at one knot into `out` (3)."""
    for axis in range(3):
        total = 0.0
        for octave in range(3):
            length = 30.0 if octave == 0 else (12.0 if octave == 1 else 4.8)
            s = SPACING / length
            noise = noise_3d(combine(combine(key, 11 + axis), octave), kz * s, ky * s, kx * s)
            total += STRAIN * length * noise
        out[axis] = total


@njit(cache=True, nogil=True)
def _fill(key, low, values):  # type: ignore[no-untyped-def]
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                knot_displacement(key, low[0] + z, low[1] + y, low[2] + x, values[z, y, x])


def make_warp(tissue: Tissue, low: NDArray[Any], high: NDArray[Any]) -> Warp:
    """Displacements at the knots around the box from `low` to `high` (um, zyx)."""
    first = np.floor(low / SPACING).astype(np.int64)
    count = np.floor(high / SPACING).astype(np.int64) - first + 2
    values = np.empty((*count.tolist(), 3))
    corner = (int(first[0]), int(first[1]), int(first[2]))
    _fill(tissue.key, corner, values)
    return Warp(values, corner)


@njit(cache=True, nogil=True)
def displacement(warp, z, y, x):  # type: ignore[no-untyped-def]
    """Displacement (um) at a point, linear between knots."""
    qz, qy, qx = z / SPACING, y / SPACING, x / SPACING
    iz, iy, ix = np.floor(qz), np.floor(qy), np.floor(qx)
    fz, fy, fx = qz - iz, qy - iy, qx - ix
    a, b, c = np.int64(iz) - warp.low[0], np.int64(iy) - warp.low[1], np.int64(ix) - warp.low[2]
    w00, w01 = (1.0 - fz) * (1.0 - fy), (1.0 - fz) * fy
    w10, w11 = fz * (1.0 - fy), fz * fy
    v = warp.values
    dz = dy = dx = 0.0
    for i in range(2):
        g = fx if i else 1.0 - fx
        k = c + i
        v00, v01, v10, v11 = v[a, b, k], v[a, b + 1, k], v[a + 1, b, k], v[a + 1, b + 1, k]
        dz += g * (w00 * v00[0] + w01 * v01[0] + w10 * v10[0] + w11 * v11[0])
        dy += g * (w00 * v00[1] + w01 * v01[1] + w10 * v10[1] + w11 * v11[1])
        dx += g * (w00 * v00[2] + w01 * v01[2] + w10 * v10[2] + w11 * v11[2])
    return dz, dy, dx


@njit(cache=True, nogil=True, inline="always")
def to_straight(warp, rotation, z, y, x):  # type: ignore[no-untyped-def]
    """Carry a world point (um, zyx) back into the straight frame (u, v, w)."""
    dz, dy, dx = displacement(warp, z, y, x)
    z, y, x = z + dz, y + dy, x + dx
    r = rotation
    u = r[0] * z + r[1] * y + r[2] * x
    v = r[3] * z + r[4] * y + r[5] * x
    w = r[6] * z + r[7] * y + r[8] * x
    return u, v, w


@njit(cache=True, nogil=True)
def point_warp(key, z, y, x, values):  # type: ignore[no-untyped-def]
    """Displacement at one point, computed with the scratch array `values` (2, 2, 2, 3)."""
    low = (np.int64(np.floor(z / SPACING)), np.int64(np.floor(y / SPACING)), np.int64(np.floor(x / SPACING)))
    for i in range(2):
        for j in range(2):
            for k in range(2):
                knot_displacement(key, low[0] + i, low[1] + j, low[2] + k, values[i, j, k])
    return displacement(Warp(values, low), z, y, x)  # type: ignore[arg-type]


@njit(cache=True, nogil=True)
def to_world(tissue, u, v, w, values):  # type: ignore[no-untyped-def]
    """Carry a straight point (u, v, w) into the world (um, zyx) by fixed point, to 0.1 nm."""
    r = tissue.rotation
    z0 = r[0] * u + r[3] * v + r[6] * w
    y0 = r[1] * u + r[4] * v + r[7] * w
    x0 = r[2] * u + r[5] * v + r[8] * w
    z, y, x = z0, y0, x0
    for _ in range(40):
        dz, dy, dx = point_warp(tissue.key, z, y, x, values)
        moved = abs(z0 - dz - z) + abs(y0 - dy - y) + abs(x0 - dx - x)
        z, y, x = z0 - dz, y0 - dy, x0 - dx
        if moved < 1e-4:
            break
    return z, y, x
