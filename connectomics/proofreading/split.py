"""Split a segment by seeds: fragments by the region graph; one with two seeds by the affinities nearby."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.evaluation.sampling import labels_at_nodes
from connectomics.io.volume import Box
from connectomics.proofreading.cutting import Pieces, cut_fragment
from connectomics.proofreading.edits import Split
from connectomics.proofreading.local_graph import grow_seeds, links_among
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output
from connectomics.roi import Triple, triple

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seed:
    """A point of a group.

    Attributes
    ----------
    place : tuple of float
        nm, zyx (world, as `Volume.offset`).
    group : int
        Seeds of different groups are kept apart.
    """

    place: Triple
    group: int


def split_by_seeds(output: Output, mapping: SegmentMap, seeds: Sequence[Seed], author: str) -> Split:
    """The split that keeps the seeds of different groups apart; nothing is applied.

    The segment is the one under most seeds; seeds beside it (a stroke of paint may spill) are left out.

    Raises
    ------
    InputError
        Fewer than two groups, a seed outside the volume, a group without a seed in the segment, two groups on
        one voxel.
    """
    places = np.array([seed.place for seed in seeds], np.float64).reshape(-1, 3)
    groups = np.array([seed.group for seed in seeds], np.int64)
    if len(np.unique(groups)) < 2:
        raise InputError("split: needs seeds of at least two groups.")
    names = fragments_at(output, mapping, places)
    inside = _in_one_segment(mapping, names, groups, places)
    places, groups, names = places[inside], groups[inside], names[inside]
    key = str(uuid.uuid4())
    volume = output.fragments
    voxels = np.floor((places - volume.offset) / volume.voxel_size).astype(np.int64)
    voxels = np.clip(voxels, 0, np.array(volume.shape) - 1)
    wanted: dict[int, int] = {}
    pieces: list[Pieces] = []
    for name in np.unique(names).tolist():
        here = names == name
        if len(np.unique(groups[here])) == 1:
            wanted[name] = int(groups[here][0])
        else:
            pieces.append(cut_fragment(output, mapping, name, (voxels[here], groups[here]), key))
    made = split_between(output, mapping, wanted, author, triple(places.mean(axis=0).tolist()), pieces)
    points = tuple((float(g), *triple(p)) for g, p in zip(groups.tolist(), places.tolist(), strict=True))
    return Split(
        author=author,
        place=made.place,
        id=key,
        groups=made.groups,
        kept=made.kept,
        cuts=made.cuts,
        seeds=points,
    )


def split_between(
    output: Output,
    mapping: SegmentMap,
    wanted: Mapping[int, int],
    author: str,
    place: Triple,
    pieces: Sequence[Pieces] = (),
) -> Split:
    """The split of a segment that gives some of its fragments their groups; the others follow by affinity.

    Parameters
    ----------
    output, mapping
        The segmentation, and its edits so far.
    wanted
        Group of some fragments, all of one segment.
    author, place
        For the log.
    pieces
        Fragments of the segment that are cut first.

    Raises
    ------
    InputError
        There are not two groups.
    """
    first = next(iter(wanted), pieces[0].cut.fragment if pieces else 0)
    segment = mapping.segment_of(first)
    if segment == 0:
        raise InputError(f"split: fragment {first} is background, or deleted; there is nothing to split.")
    names = mapping.fragments_of(segment)
    goal = dict(wanted)
    voxels = dict(zip(names.tolist(), mapping.fragment_voxels(names).tolist(), strict=True))
    for one in pieces:
        goal[one.cut.fragment] = one.rest_group
        goal |= dict(zip(one.cut.pieces, one.groups, strict=True))
        voxels[one.cut.fragment] -= sum(one.voxels)
        voxels |= dict(zip(one.cut.pieces, one.voxels, strict=True))
    known = sorted(set(goal.values()))
    if len(known) < 2:
        raise InputError("split: needs seeds of at least two groups.")
    # of a fragment that was cut whole nothing is left that its neighbours could hang on
    names = np.array(sorted(name for name, left in voxels.items() if left > 0), np.int64)
    seeds = np.array(
        [known.index(goal[name]) + 1 if name in goal else 0 for name in names.tolist()], np.int64
    )
    cuts = tuple(one.cut for one in pieces)
    found = grow_seeds(seeds, links_among(names, output.edges, mapping, cuts))
    sizes = np.bincount(found, [voxels[name] for name in names.tolist()], minlength=len(known) + 1)
    kept = int(np.argmax(sizes[1:])) + 1
    groups = tuple(
        tuple(names[found == number].tolist()) for number in range(1, len(known) + 1) if number != kept
    )
    stays = int(names[np.flatnonzero(seeds == kept)[0]])
    return Split(author=author, place=place, groups=groups, kept=stays, cuts=cuts)


def fragments_at(output: Output, mapping: SegmentMap, places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fragment or piece at each of (n, 3) points, nm zyx; 0 on the background.

    Raises
    ------
    GeometryError
        A point lies outside the volume.
    """
    volume = output.fragments

    def read(box: Box) -> NDArray[np.int64]:
        return mapping.with_pieces(volume.read_box(box), [s.start for s in box])

    found = labels_at_nodes(read, volume.shape, volume.voxel_size, volume.offset, places)
    return found.astype(np.int64)


def _in_one_segment(
    mapping: SegmentMap, names: NDArray[np.int64], groups: NDArray[np.int64], places: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which seeds lie in the segment that most of them lie in."""
    segments = np.array([mapping.segment_of(name) if name else 0 for name in names.tolist()])
    there, counts = np.unique(segments[segments > 0], return_counts=True)
    if not len(there):
        raise InputError(
            f"split: no seed lies in a segment; the first is at {places[0].tolist()} nm (z y x)."
        )
    segment = int(there[np.argmax(counts)])
    inside = segments == segment
    for group in np.unique(groups).tolist():
        if not inside[groups == group].any():
            seen = sorted(set(segments[groups == group].tolist()))
            raise InputError(
                f"split: group {group} has no seed in segment {segment}; its seeds lie in {seen} (0 is "
                "background). A split is of one segment."
            )
    if not inside.all():
        log.info("split: left out %d seeds that lie beside segment %d", int((~inside).sum()), segment)
    return np.asarray(inside)
