"""Random numbers that are a function of place: hashes of integers, and smooth noise between hashed knots."""

import numpy as np
from numba import njit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _ONE = (np.uint64(v) for v in (30, 27, 31, 11, 1))


@njit(cache=True, nogil=True, inline="always")
def combine(key, value):  # type: ignore[no-untyped-def]
    """Hash of a uint64 key and an integer (splitmix64, doi 10.1145/2660193.2660195)."""
    mixed = key + _STEP * (np.uint64(value) + _ONE)
    mixed = (mixed ^ (mixed >> _S30)) * _FIRST
    mixed = (mixed ^ (mixed >> _S27)) * _SECOND
    return mixed ^ (mixed >> _S31)


@njit(cache=True, nogil=True, inline="always")
def unit(key):  # type: ignore[no-untyped-def]
    """A float in [0, 1) from a hash."""
    return np.float64(key >> _S11) * 1.1102230246251565e-16


@njit(cache=True, nogil=True, inline="always")
def signed(key):  # type: ignore[no-untyped-def]
    """A float in [-1, 1) from a hash."""
    return 2.0 * unit(key) - 1.0


@njit(cache=True, nogil=True, inline="always")
def smooth_step(t):  # type: ignore[no-untyped-def]
    """Cubic step from 0 at t <= 0 to 1 at t >= 1."""
    t = min(1.0, max(0.0, t))
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, nogil=True)
def noise_1d(key, t):  # type: ignore[no-untyped-def]
    """Smooth noise in [-1, 1) along a line, with a knot at every integer."""
    knot = np.int64(np.floor(t))
    f = smooth_step(t - knot)
    return (1.0 - f) * signed(combine(key, knot)) + f * signed(combine(key, knot + 1))


@njit(cache=True, nogil=True)
def noise_3d(key, z, y, x):  # type: ignore[no-untyped-def]
    """Smooth noise in [-1, 1) in space, with a knot at every integer."""
    kz, ky, kx = np.int64(np.floor(z)), np.int64(np.floor(y)), np.int64(np.floor(x))
    fz, fy, fx = smooth_step(z - kz), smooth_step(y - ky), smooth_step(x - kx)
    total = 0.0
    for i in range(2):
        plane = combine(key, kz + i)
        wz = fz if i else 1.0 - fz
        for j in range(2):
            row = combine(plane, ky + j)
            wy = wz * (fy if j else 1.0 - fy)
            total += wy * (1.0 - fx) * signed(combine(row, kx))
            total += wy * fx * signed(combine(row, kx + 1))
    return total


@njit(cache=True, nogil=True)
def normal_at(key, z, y, x):  # type: ignore[no-untyped-def]
    """A nearly normal number (mean 0, variance 1) hashed from a voxel: the sum of four 16-bit fields."""
    h = combine(combine(combine(key, z), y), x)
    mask = np.uint64(0xFFFF)
    total = np.int64(h & mask) + np.int64((h >> np.uint64(16)) & mask)
    total += np.int64((h >> np.uint64(32)) & mask) + np.int64(h >> np.uint64(48))
    return (total / 65536.0 - 2.0) * 1.7320508075688772
