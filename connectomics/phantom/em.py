"""EM rendering: dark membranes, darkest myelin, textured cytoplasm, mitochondria and pixel noise."""

import numpy as np
from numba import njit

from connectomics.phantom.fibres import BARE
from connectomics.phantom.geometry import CELL_BODY, depth_in, locate
from connectomics.phantom.hashing import combine, noise_3d, normal_at
from connectomics.phantom.sections import AXON, MITO, MITO_U, MITO_V, OUTER

NOISE = {"easy": 6.0, "medium": 12.0, "hard": 20.0}
"""Grey levels of noise per voxel."""

_MEMBRANE, _MYELIN, _CYTOPLASM, _BETWEEN, _RESIN = 70.0, 45.0, 175.0, 140.0, 205.0


@njit(cache=True, nogil=True)
def _ramp(depth, start):  # type: ignore[no-untyped-def]
    return min(1.0, max(0.0, (depth - start) / 0.02 + 0.5))


@njit(cache=True, nogil=True)
def _inside(scene, index, nearest, u, v):  # type: ignore[no-untyped-def]
    table = scene.table
    if table.kind[index] < BARE:
        return _RESIN if scene.tissue.active < 1.0 else _BETWEEN
    outer, axon = table.profile[index, OUTER], table.profile[index, AXON]
    if nearest <= outer - 0.01:
        return _BETWEEN
    depth = depth_in(table, index, nearest, u, v)
    rim, core = _ramp(depth, outer), _ramp(depth, axon)
    lamella = 5.0 * np.cos(depth * (6.283185307179586 / 0.05))
    grey = _BETWEEN + rim * (_MYELIN + lamella - _BETWEEN) + core * (_CYTOPLASM - _MYELIN - lamella)
    size = table.profile[index, MITO]
    if size > 0.0 and core > 0.0:
        du = u - table.seed[index, 0] - table.profile[index, MITO_U]
        dv = v - table.seed[index, 1] - table.profile[index, MITO_V]
        to_rim = size - np.sqrt(du * du + dv * dv)
        if to_rim > 0.0:
            grey += core * ((_MEMBRANE if to_rim < 0.03 else 115.0) - grey)
    return grey


@njit(cache=True, nogil=True)
def _grey(scene, z, y, x, guess):  # type: ignore[no-untyped-def]
    index, nearest, u, v = locate(scene, z, y, x, guess)
    texture = noise_3d(combine(scene.tissue.key, 101), z / 0.09, y / 0.09, x / 0.09)
    if index == CELL_BODY:
        if nearest < 0.03 or 0.68 < nearest < 0.72:
            return index, _MEMBRANE
        return index, (150.0 if nearest < 0.7 else 135.0) + 22.0 * texture
    grey = _BETWEEN if index < 0 else _inside(scene, index, nearest, u, v)
    return index, grey + 0.06 * grey * texture


@njit(cache=True, nogil=True)
def fill_em(scene, voxel, noise, low, out):  # type: ignore[no-untyped-def]
    """Write the EM grey values of the voxels (edge `voxel`, um) from index `low` on into `out`."""
    key = combine(scene.tissue.key, 102)
    for i in range(out.shape[0]):
        z = (low[0] + i + 0.5) * voxel
        for j in range(out.shape[1]):
            y = (low[1] + j + 0.5) * voxel
            guess = -1
            for k in range(out.shape[2]):
                x = (low[2] + k + 0.5) * voxel
                guess, grey = _grey(scene, z, y, x, guess)
                grey += noise * normal_at(key, low[0] + i, low[1] + j, low[2] + k)
                out[i, j, k] = np.uint8(min(255.0, max(0.0, np.floor(grey + 0.5))))
