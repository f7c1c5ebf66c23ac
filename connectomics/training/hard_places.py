"""Hard places: where a segmentation parts an object or joins two, and how much each error concerns."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.affinities import pair_slices
from connectomics.evaluation.contingency import count_contingency
from connectomics.roi import Triple

_TRIFLE = 0.05
"""A smaller share than this is a border drawn a little aside, or a node off its axon: no error."""

_PER_ERROR = 16
"""Places kept of one error: those where the network is most wrong."""

_HALF = tuple(o for o in itertools.product((-1, 0, 1), repeat=3) if o < (0, 0, 0))
"""Each pair of neighbours once, corners included: a skeleton is a line of voxels that touch by corners."""


@dataclass(frozen=True)
class Places:
    """Voxels at which a network errs.

    Attributes
    ----------
    voxels : ndarray of int32, (n, 3)
        zyx.
    weights : ndarray of float64, (n,)
        Share of each in what its error costs, above 0. An error costs the geometric mean of the voxels
        of its two parts: the root of the pairs of voxels that it parts or joins.
    merges : ndarray of bool, (n,)
        The place of a merge, else of a split.
    """

    voxels: NDArray[np.int32]
    weights: NDArray[np.float64]
    merges: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of places."""
        return len(self.weights)

    @classmethod
    def joined(cls, parts: "list[Places]") -> "Places":
        """All places of several."""
        none = cls(np.zeros((0, 3), np.int32), np.zeros(0), np.zeros(0, bool))
        every = [none, *parts]
        return cls(
            np.concatenate([part.voxels for part in every]),
            np.concatenate([part.weights for part in every]),
            np.concatenate([part.merges for part in every]),
        )

    def select(self, keep: NDArray[Any]) -> "Places":
        """The places that an index or a mask names."""
        return Places(self.voxels[keep], self.weights[keep], self.merges[keep])

    def draw(self, random: np.random.Generator) -> NDArray[np.int32]:
        """One of the places, by weight."""
        return self.voxels[int(random.choice(len(self), p=self.weights / self.weights.sum()))]


def find_places(
    segmentation: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]],
    affinities: NDArray[np.uint8],
    voxel_size: Triple,
) -> Places:
    """Find where a segmentation is wrong.

    A split lies where two segments meet inside one object, a merge where two objects meet inside one
    segment. Voxels without a segment (or without an object) between the two count as those of the nearest,
    so that the two need not touch; skeletons will do for objects. Of an error's voxels those are kept
    where the affinities say most clearly what is wrong.

    Parameters
    ----------
    segmentation
        (z, y, x), 0 = none.
    labels
        (z, y, x) objects from 1; 0 = none or background; -1 = unknown: no error is placed there.
    affinities
        (3 or more, z, y, x) uint8, those to the nearest neighbours first.
    voxel_size
        nm, zyx: for what is nearest.
    """
    truth = np.maximum(labels, 0)
    table = count_contingency(segmentation, truth)
    filled = table.segment > 0
    held = _counts(table.segment[filled], table.truth[filled], table.count[filled])
    objects, _, sizes = table.truth_sizes()
    whole = dict(zip(objects.tolist(), sizes.tolist(), strict=True))
    connected = affinities[:3].min(axis=0)
    shared = _shared(held, whole)
    found = []
    if shared:
        inside = np.where(np.isin(segmentation, list(shared)), segmentation, 0)
        contacts = _contacts(inside, _nearest(truth, voxel_size), labels >= 0)
        found.append(_costliest(contacts, held, 255 - connected, whole))
    if held:
        grown = _nearest(segmentation, voxel_size, needed=(truth > 0) & (segmentation == 0))
        table = count_contingency(grown, truth)
        parts = _counts(table.truth, table.segment, table.count)
        found.append(_costliest(_contacts(truth, grown, labels >= 0), parts, connected, None))
    return Places.joined(found)


def _counts(
    groups: NDArray[np.uint64], labels: NDArray[np.uint64], counts: NDArray[np.int64]
) -> dict[tuple[int, int], int]:
    return {
        (g, label): n for g, label, n in zip(groups.tolist(), labels.tolist(), counts.tolist(), strict=True)
    }


def _shared(held: dict[tuple[int, int], int], whole: dict[int, int]) -> set[int]:
    """Segments that hold more than a trifle of two objects or more."""
    sound = [segment for (segment, label), n in held.items() if n >= _TRIFLE * whole[label]]
    names, counts = np.unique(np.array(sound, np.int64), return_counts=True)
    return set(names[counts > 1].tolist())


def _nearest(
    labels: NDArray[np.integer[Any]], voxel_size: Triple, needed: NDArray[np.bool_] | None = None
) -> NDArray[np.integer[Any]]:
    """The label of the nearest labelled voxel; the labels themselves where no other is needed."""
    if needed is not None and not needed.any():
        return labels
    from scipy import ndimage

    index = ndimage.distance_transform_edt(
        labels == 0, sampling=voxel_size, return_distances=False, return_indices=True
    )
    return labels[tuple(index)]


def _contacts(
    group: NDArray[np.integer[Any]], label: NDArray[np.integer[Any]], known: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Rows (group, smaller label, larger label, voxel): neighbours in one group with two labels."""
    rows = []
    for offset in _HALF:
        here, there = pair_slices(offset)
        apart = (
            (group[here] == group[there]) & (group[here] > 0) & (label[here] != label[there]) & known[here]
        )
        at = tuple(np.argwhere(apart).T)
        a, b = label[here][at].astype(np.int64), label[there][at].astype(np.int64)
        voxels = [axis + s.start for axis, s in zip(at, here, strict=True)]
        flat = np.ravel_multi_index(voxels, group.shape)
        rows.append(np.stack((group[here][at].astype(np.int64), np.minimum(a, b), np.maximum(a, b), flat), 1))
    return np.concatenate(rows)


def _costliest(
    contacts: NDArray[np.int64],
    held: dict[tuple[int, int], int],
    right: NDArray[np.uint8],
    whole: dict[int, int] | None,
) -> Places:
    """The worst places of every error that is no trifle.

    Parameters
    ----------
    contacts
        From `_contacts`.
    held
        Voxels of each (group, label).
    right
        How right the network is at each voxel, 0 to 255.
    whole
        For merges, the voxels of each label: the parts joined must be a share of them. None for splits:
        the smaller part must be a share of the larger.
    """
    if not len(contacts):
        return Places.joined([])
    order = np.lexsort((contacts[:, 3], right.ravel()[contacts[:, 3]], *contacts[:, 2::-1].T))
    contacts = contacts[order]
    steps = np.diff(contacts, axis=0) != 0
    contacts = contacts[np.append(True, steps.any(axis=1))]  # a voxel has several neighbours
    first = np.flatnonzero(np.append(True, (np.diff(contacts[:, :3], axis=0) != 0).any(axis=1)))
    found = []
    for start, stop in itertools.pairwise([*first.tolist(), len(contacts)]):
        group, a, b = contacts[start, :3].tolist()
        parts = [held.get((group, label), 0) for label in (a, b)]
        of = [whole.get(a, 0), whole.get(b, 0)] if whole is not None else [max(parts)] * 2
        if min(parts) == 0 or any(part < _TRIFLE * total for part, total in zip(parts, of, strict=True)):
            continue
        flat = contacts[start : min(stop, start + _PER_ERROR), 3]
        voxels = np.stack(np.unravel_index(flat, right.shape), axis=1).astype(np.int32)
        cost = float(np.sqrt(parts[0]) * np.sqrt(parts[1]))
        found.append(
            Places(voxels, np.full(len(flat), cost / len(flat)), np.full(len(flat), whole is not None))
        )
    return Places.joined(found)
