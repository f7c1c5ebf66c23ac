"""The tissue's parameters in micrometres: what a seed and a difficulty stand for, ready for compiled code."""

import math
from typing import NamedTuple

import numpy as np

from connectomics.phantom.settings import PhantomSettings

PITCH = 0.95
"""Lattice pitch of the fibres' seeds, um."""

BLOCK_CELLS = 16
"""Lattice cells across one coarse block of laminae."""

KNOT = 0.05
"""Step along a fibre at which its section is evaluated, um."""

MEMBRANE = 0.02
"""Thickness of a bare axon's dark rim, um."""


class Tissue(NamedTuple):
    """Parameters that compiled code reads; lengths in um."""

    key: np.uint64
    gap: float  # extracellular cleft between two fibres
    node_spacing: float  # mean distance between nodes of Ranvier along a fibre; 0: none
    node_length: float
    unmyelinated: float  # share of the thin fibres that have no myelin
    g_shift: float  # added to the g-ratio
    active: float  # share of bundles that hold fibres; 1: packed
    rotation: tuple[float, ...]  # 3 x 3, row by row: world (z, y, x) to tissue (u, v, w)


class _Step(NamedTuple):
    gap: float
    node_spacing: float
    node_length: float
    unmyelinated: float
    g_shift: float


_STEPS = {
    "easy": _Step(0.08, 0.0, 0.0, 0.0, -0.04),
    "medium": _Step(0.04, 70.0, 0.9, 0.35, 0.0),
    "hard": _Step(0.03, 35.0, 1.4, 0.6, 0.02),
}


def make_tissue(settings: PhantomSettings) -> Tissue:
    """Return the tissue that `settings` stand for."""
    generator = np.random.Generator(np.random.PCG64([settings.seed, 7919]))
    key = np.uint64(generator.integers(0, 2**63))
    rotation = _rotation(generator.normal(size=4))
    step = _STEPS[settings.difficulty]
    active = bundle_share(settings.density, 32 * settings.voxel_size / 1000)
    return Tissue(key, *step, active, rotation)


def _rotation(quaternion: np.ndarray) -> tuple[float, ...]:
    a, b, c, d = (float(v) for v in quaternion / np.linalg.norm(quaternion))
    return (
        a * a + b * b - c * c - d * d,
        2 * (b * c - a * d),
        2 * (b * d + a * c),
        2 * (b * c + a * d),
        a * a - b * b + c * c - d * d,
        2 * (c * d - a * b),
        2 * (b * d - a * c),
        2 * (c * d + a * b),
        a * a - b * b - c * c + d * d,
    )


def bundle_share(density: float, chunk: float) -> float:
    """Share of bundles to fill so that `density` of the chunks (edge `chunk`, um) touch a fibre.

    A chunk is counted when any bundle that it overlaps is filled, so fewer bundles than chunks are.
    """
    if density >= 1.0 or density <= 0.0:
        return float(density >= 1.0)
    reach = 1.5 * chunk / (BLOCK_CELLS / 2 * PITCH)
    low, high = 0.0, 1.0
    for _ in range(60):
        share = (low + high) / 2
        empty = _empty_chunks(share, reach)
        low, high = (share, high) if 1 - empty < density else (low, share)
    return low


def _empty_chunks(share: float, reach: float) -> float:
    whole, part = math.floor(reach), reach - math.floor(reach)
    odds = {whole + 1: 1 - part, whole + 2: part}
    return sum(p * q * (1 - share) ** (m * n) for m, p in odds.items() for n, q in odds.items())
