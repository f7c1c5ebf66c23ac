"""Cross-sections of fibres: the half-planes that bound each one, how deep a point lies, and its sheath."""

import math

import numpy as np
from numba import njit

from connectomics.phantom.fibres import BARE, DROPPED, MYELINATED, WINDOW
from connectomics.phantom.hashing import combine, signed, unit
from connectomics.phantom.nodes import node_profile
from connectomics.phantom.tissue import MEMBRANE

MOST_PLANES = 26
"""Half-planes kept for one section."""

DISC = 1.4
"""A fibre reaches no further than this many of its radii from its seed."""

SOFTNESS = 25.0
"""Sharpness of the soft minimum over half-planes, 1/um: the corners' rounding."""

FAR = 0.3
"""Half-planes further than this (um) from mattering are left out."""

# columns of a section's profile
AXON, OUTER, MITO, MITO_U, MITO_V = 0, 1, 2, 3, 4


@njit(cache=True, nogil=True)
def cut_planes(sites, current, a, i, planes):  # type: ignore[no-untyped-def]
    """Write the half-planes (nu, nv, constant) of a section into `planes`; return how many.

    `current` holds (u, v, radius) of every seed of the lamina at this place along the fibres.
    """
    u, v, r = current[a, i, 0], current[a, i, 1], current[a, i, 2]
    far = DISC * r + FAR
    count = 0
    if u - sites.low < far:
        planes[count, 0], planes[count, 1], planes[count, 2] = 1.0, 0.0, -sites.low
        count += 1
    if sites.high - u < far:
        planes[count, 0], planes[count, 1], planes[count, 2] = -1.0, 0.0, sites.high
        count += 1
    for c in range(max(0, a - WINDOW), min(current.shape[0], a + WINDOW + 1)):
        for j in range(max(0, i - WINDOW), min(current.shape[1], i + WINDOW + 1)):
            if sites.kind[c, j] == DROPPED or (c == a and j == i) or count == MOST_PLANES:
                continue
            du, dv, q = u - current[c, j, 0], v - current[c, j, 1], current[c, j, 2]
            gap = math.sqrt(du * du + dv * dv)
            at_seed = (gap * gap - q * q + r * r) / (2.0 * gap)
            if at_seed < far:
                planes[count, 0], planes[count, 1] = du / gap, dv / gap
                planes[count, 2] = at_seed - (du * u + dv * v) / gap
                count += 1
    return count


@njit(cache=True, nogil=True)
def hard_depth(planes, count, seed, u, v):  # type: ignore[no-untyped-def]
    """Distance (um) to the nearest bound of a section; negative outside."""
    du, dv = u - seed[0], v - seed[1]
    nearest = DISC * seed[2] - math.sqrt(du * du + dv * dv)
    for m in range(count):
        nearest = min(nearest, planes[m, 0] * u + planes[m, 1] * v + planes[m, 2])
    return nearest


@njit(cache=True, nogil=True)
def soft_depth(planes, count, seed, u, v, nearest):  # type: ignore[no-untyped-def]
    """Soft minimum (um) of the distances to a section's bounds; `nearest` is their minimum."""
    du, dv = u - seed[0], v - seed[1]
    d = DISC * seed[2] - math.sqrt(du * du + dv * dv) - nearest
    total = math.exp(-SOFTNESS * d) if d < FAR else 0.0
    for m in range(count):
        d = planes[m, 0] * u + planes[m, 1] * v + planes[m, 2] - nearest
        if d < FAR:
            total += math.exp(-SOFTNESS * d)
    return nearest - math.log(total) / SOFTNESS


@njit(cache=True, nogil=True)
def seed_depth(planes, count, seed):  # type: ignore[no-untyped-def]
    """Soft depth (um) of a section at its own seed."""
    nearest = hard_depth(planes, count, seed, seed[0], seed[1])
    return soft_depth(planes, count, seed, seed[0], seed[1], nearest)


@njit(cache=True, nogil=True)
def write_profile(tissue, site, w, seed, depth, out):  # type: ignore[no-untyped-def]
    """Write a section's profile: the depths (um) at which myelin and axon begin, and its mitochondrion.

    `site` is (kind, hash) of the fibre, `seed` (u, v, radius) and `depth` its depth at the seed.
    """
    kind, key = site
    outer, sheath = 0.5 * tissue.gap, MEMBRANE
    if kind == MYELINATED:
        r = seed[2]
        g = 0.62 + 0.16 * min(1.0, max(0.0, (r - 0.2) / 0.7))
        g += tissue.g_shift + 0.05 * signed(combine(key, 71))
        sheath = min((1.0 - g) * r, 0.55 * depth)
        cover, narrowing = node_profile(tissue, key, w)
        shrink = max(0.0, min(0.3 * depth, 0.68 * depth - sheath)) * narrowing
        bare = 0.35 * depth
        outer += (1.0 - cover) * bare
        sheath = cover * (sheath + shrink) + (1.0 - cover) * MEMBRANE
    out[OUTER] = outer
    out[AXON] = outer + sheath
    out[MITO] = 0.0
    inner = depth - outer - sheath
    if kind >= BARE and inner > 0.08:
        _write_mitochondrion(key, w, inner, out)


@njit(cache=True, nogil=True)
def _write_mitochondrion(key, w, inner, out):  # type: ignore[no-untyped-def]
    period = 4.0
    index = np.int64(np.floor(w / period + unit(combine(key, 72))))
    drawn = combine(combine(key, 73), index)
    if unit(combine(drawn, 0)) > 0.55:
        return
    centre = (index + 0.5 - unit(combine(key, 72))) * period + 0.6 * signed(combine(drawn, 1))
    t = (w - centre) / (0.5 + 0.8 * unit(combine(drawn, 2)))
    if t * t < 1.0:
        turn = 6.283185307179586 * unit(combine(drawn, 3))
        size = min(0.16, 0.45 * inner)
        away = inner - size - 0.02
        out[MITO] = size * math.sqrt(1.0 - t * t)
        out[MITO_U], out[MITO_V] = 0.8 * away * math.cos(turn), 0.8 * away * math.sin(turn)
