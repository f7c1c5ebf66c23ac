"""Cut one fragment into pieces between seeds: a seeded watershed on affinities nearby, or on its shape."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.io.volume import Box, Volume
from connectomics.proofreading.edits import Cut
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output
from connectomics.proofreading.pieces import pack, piece_ids

MARGIN = 32
"""Voxels around the seeds that are looked at, and by how many more where the fragment goes on."""

LARGEST_WINDOW = 1 << 24
"""Voxels looked at, at most (300 MB); what of the fragment lies farther away stays in one piece."""

MOST_PIECES = 255


@dataclass(frozen=True)
class Pieces:
    """What a cut makes of a fragment.

    Attributes
    ----------
    cut : Cut
    groups : tuple of int
        Group of each piece.
    rest_group : int
        Group of what stays of the fragment: of the piece that it hangs on.
    voxels : tuple of int
        Of each piece.
    """

    cut: Cut
    groups: tuple[int, ...]
    rest_group: int
    voxels: tuple[int, ...]


def cut_fragment(
    output: Output,
    mapping: SegmentMap,
    name: int,
    seeds: tuple[NDArray[np.int64], NDArray[np.int64]],
    key: str,
) -> Pieces:
    """Cut a fragment so that seeds of different groups are in different pieces.

    Parameters
    ----------
    output, mapping
        The segmentation, and its edits so far.
    name
        The fragment, or piece.
    seeds
        (n, 3) voxels of the finest level, all inside the fragment, and (n,) group of each.
    key
        What the ids of the pieces are made from: the id of the edit.

    Raises
    ------
    InputError
        Two groups on one voxel, or more than `MOST_PIECES` groups.
    """
    voxels, groups = seeds
    known, number = np.unique(groups, return_inverse=True)
    _check_seeds(output, voxels, groups, len(known))
    box, names = _window(output.fragments, mapping, name, voxels)
    corner = np.array([s.start for s in box])
    mask = names == name
    markers = np.zeros(names.shape, np.int32)
    markers[tuple((voxels - corner).T)] = number + 1
    labels = _flooded(output, box, mask, markers)
    inner = _trimmed(labels > 0)
    ids = piece_ids(key, name, len(known))
    contacts = _contacts(labels, names, ids, name)
    beyond = _on_open_faces(labels, box, output.fragments.shape, len(known))
    rest = beyond + np.array([contacts.get((k, name), 0) for k in range(1, len(known) + 1)])
    sizes = np.bincount(labels.ravel(), minlength=len(known) + 1)[1:]
    best = int(np.argmax(rest)) if rest.any() else int(np.argmax(sizes))
    for k in np.flatnonzero(beyond).tolist():
        contacts[k + 1, name] = contacts.get((k + 1, name), 0) + int(beyond[k])
    z, y, x = (int(c + s.start) for c, s in zip(corner, inner, strict=True))
    cut = Cut(
        fragment=name,
        pieces=ids,
        corner=(z, y, x),
        shape=labels[inner].shape,
        labels=pack(labels[inner]),
        contacts=tuple((k, other, faces) for (k, other), faces in sorted(contacts.items())),
    )
    return Pieces(cut, tuple(known.tolist()), int(known[best]), tuple(sizes.tolist()))


def _check_seeds(output: Output, voxels: NDArray[np.int64], groups: NDArray[np.int64], number: int) -> None:
    if number > MOST_PIECES:
        raise InputError(f"split: {number} groups of seeds in one fragment; at most {MOST_PIECES}.")
    linear = np.ravel_multi_index(tuple(voxels.T), output.fragments.shape)
    order = np.lexsort((groups, linear))
    same = (np.diff(linear[order]) == 0) & (np.diff(groups[order]) != 0)
    if same.any():
        place = voxels[order[np.flatnonzero(same)[0]]].tolist()
        raise InputError(f"split: two groups have a seed on one voxel, {place} (z y x). Move one of them.")


def _window(
    fragments: Volume, mapping: SegmentMap, name: int, voxels: NDArray[np.int64]
) -> tuple[Box, NDArray[np.int64]]:
    """A box around the seeds that holds the fragment, or as much of it as may be looked at, and its names."""
    shape = np.array(fragments.shape)
    low = np.maximum(voxels.min(axis=0) - MARGIN, 0)
    high = np.minimum(voxels.max(axis=0) + 1 + MARGIN, shape)
    while True:
        z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        names = mapping.with_pieces(fragments.read_box((z, y, x)), low.tolist())
        mask = names == name
        wider_low, wider_high = low.copy(), high.copy()
        for axis in range(3):
            if low[axis] > 0 and mask.take(0, axis).any():
                wider_low[axis] = max(0, low[axis] - MARGIN)
            if high[axis] < shape[axis] and mask.take(-1, axis).any():
                wider_high[axis] = min(shape[axis], high[axis] + MARGIN)
        grown = (wider_low < low).any() or (wider_high > high).any()
        if not grown or np.prod(wider_high - wider_low) > LARGEST_WINDOW:
            return (z, y, x), names
        low, high = wider_low, wider_high


def _flooded(
    output: Output, box: Box, mask: NDArray[np.bool_], markers: NDArray[np.int32]
) -> NDArray[np.uint8]:
    from scipy.ndimage import distance_transform_edt
    from skimage.segmentation import watershed

    kept = output.affinities
    height: NDArray[Any]
    if kept is not None and kept.shape == output.fragments.shape:
        height = 255.0 - kept.read_box(box)[:3].mean(axis=0, dtype=np.float32)
    else:
        padded = np.pad(mask, 1)
        depth = distance_transform_edt(padded, sampling=output.fragments.voxel_size)
        height = -depth[1:-1, 1:-1, 1:-1]
    labels: Any = watershed(height, markers, mask=mask)  # type: ignore[no-untyped-call]
    return np.asarray(labels, np.uint8)


def _trimmed(there: NDArray[np.bool_]) -> Box:
    spans = []
    for axis in range(3):
        hits = np.flatnonzero(there.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(int(hits[0]), int(hits[-1]) + 1))
    z, y, x = spans
    return z, y, x


def _contacts(
    labels: NDArray[np.uint8], names: NDArray[np.int64], ids: tuple[int, ...], name: int
) -> dict[tuple[int, int], int]:
    """Faces between each piece and whatever is beside it: another fragment, another piece, the rest."""
    names = names.copy()
    for number, piece in enumerate(ids, 1):
        names[labels == number] = piece
    found: dict[tuple[int, int], int] = {}
    numbers = {piece: number for number, piece in enumerate(ids, 1)}
    for a, b in _neighbours(names):
        differ = (a != b) & (a > 0) & (b > 0) & (np.isin(a, ids) | np.isin(b, ids))
        pairs = np.sort(np.stack([a[differ], b[differ]], axis=1), axis=1)
        for (u, v), faces in zip(*_counted(pairs), strict=True):
            piece, other = (v, u) if v in numbers else (u, v)  # the later of two pieces tells of both
            key = numbers[piece], other
            found[key] = found.get(key, 0) + faces
    return found


def _neighbours(names: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    yield names[1:], names[:-1]
    yield names[:, 1:], names[:, :-1]
    yield names[:, :, 1:], names[:, :, :-1]


def _counted(pairs: NDArray[np.int64]) -> tuple[list[list[int]], list[int]]:
    rows, counts = np.unique(pairs, axis=0, return_counts=True)
    return rows.tolist(), counts.tolist()


def _on_open_faces(
    labels: NDArray[np.uint8], box: Box, shape: tuple[int, ...], number: int
) -> NDArray[np.int64]:
    """Voxels of each piece on the faces of the window beyond which the volume goes on."""
    found = np.zeros(number + 1, np.int64)
    for axis, span in enumerate(box):
        for plane, is_open in ((0, span.start > 0), (-1, span.stop < shape[axis])):
            if is_open:
                found += np.bincount(labels.take(plane, axis).ravel(), minlength=number + 1)
    return found[1:]
