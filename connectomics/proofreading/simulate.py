"""A perfect reviewer: knows the truth, decides candidate after candidate, and what run length that gains."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.io.skeletons import Skeletons
from connectomics.io.volume import Volume
from connectomics.proofreading.edits import Edit, Merge, Verdict
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output
from connectomics.proofreading.ranking import Candidate, rank
from connectomics.proofreading.split import fragments_at, split_between
from connectomics.proofreading.worth import Order

AUTHOR = "nobody"


@dataclass(frozen=True)
class Review:
    """How a simulated review went.

    Attributes
    ----------
    nerl : list of float
        Before the first decision, and after each.
    best : float
        NERL where every fragment is given its true object: what edits of fragments can reach.
    edits : int
        Decisions that changed something.
    """

    nerl: list[float]
    best: float
    edits: int

    def decisions_for(self, share: float) -> int | None:
        """Decisions after which this share of the possible gain is there; None where it never is."""
        goal = self.nerl[0] + share * (self.best - self.nerl[0])
        return next((n for n, value in enumerate(self.nerl) if value >= goal), None)


def review(
    output: Output, objects: NDArray[np.int64], skeletons: Skeletons, order: Order, seed: int = 0
) -> Review:
    """Decide on every candidate of a queue as the truth says.

    A merge is made where both fragments are of one object, a split where they are of two: then all fragments
    of either object are told apart, and those of no object follow the affinities.

    Parameters
    ----------
    output
        The segmentation.
    objects
        (fragments + 1,) true object of each fragment, 0 = none; see `true_objects`.
    skeletons
        What run length is measured on.
    order, seed
        Of the queue.
    """
    inside = skeletons.crop(output.fragments.roi)
    mapping = SegmentMap(output.lut, output.voxels)
    under = fragments_at(output, mapping, inside.nodes)

    def nerl(labels: NDArray[np.uint64]) -> float:
        return float(skeleton_scores(labels, inside)["nerl"])

    verdicts: dict[tuple[int, int], Verdict] = {}
    queue = rank(output, mapping, verdicts, order, seed=seed)
    course, edits = [nerl(mapping.segments_of(under))], 0
    while (index := queue.take()) is not None:
        candidate = queue.candidate(index)
        edit = decide(output, mapping, objects, candidate)
        verdicts[candidate.fragments] = "accept" if edit is None else "edit"
        if edit is None:
            queue.decided()
            course.append(course[-1])
            continue
        queue.changed(mapping.apply(edit))
        course.append(nerl(mapping.segments_of(under)))
        edits += 1
    alone = len(objects) + np.arange(len(objects))  # fragments of no object are joined to nothing
    ideal = np.where(objects > 0, objects, alone)
    ideal[0] = 0
    return Review(course, nerl(ideal[under].astype(np.uint64)), edits)


def decide(
    output: Output, mapping: SegmentMap, objects: NDArray[np.int64], candidate: Candidate
) -> Edit | None:
    """The edit that the truth asks for at a candidate; None where the segmentation is right.

    A fragment of no object is seen as of that which most of its side of the candidate is of.
    """
    u, v = candidate.fragments
    if candidate.kind == "merge":
        sides = [mapping.fragments_of(segment) for segment in candidate.segments]
    elif objects[u] and objects[u] == objects[v]:
        return None
    else:
        whole = mapping.fragments_of(candidate.segments[0])
        cut = split_between(output, mapping, {u: 1, v: 2}, AUTHOR, candidate.place)
        leaving = np.isin(whole, cut.groups[0])
        sides = [whole[leaving == (fragment in cut.groups[0])] for fragment in (u, v)]
    seen = [
        _object_of(fragment, side, mapping, objects) for fragment, side in zip((u, v), sides, strict=True)
    ]
    if 0 in seen or (seen[0] == seen[1]) == (candidate.kind == "split"):
        return None
    if candidate.kind == "merge":
        return Merge(author=AUTHOR, place=candidate.place, a=u, b=v)
    names = np.concatenate(sides)
    wanted = dict.fromkeys(names[objects[names] == seen[0]].tolist(), 1)
    wanted |= dict.fromkeys(names[objects[names] == seen[1]].tolist(), 2)
    return split_between(output, mapping, wanted, AUTHOR, candidate.place)


def _object_of(
    fragment: int, side: NDArray[np.int64], mapping: SegmentMap, objects: NDArray[np.int64]
) -> int:
    if objects[fragment] or not objects[side].any():
        return int(objects[fragment])
    known = side[objects[side] > 0]
    there, number = np.unique(objects[known], return_inverse=True)
    return int(there[np.argmax(np.bincount(number, mapping.fragment_voxels(known)))])


def true_objects(fragments: Volume, truth: Volume, number: int) -> NDArray[np.int64]:
    """The object that most of each fragment's labelled voxels are of; 0 for fragments without any.

    Parameters
    ----------
    fragments, truth
        Labels on one voxel grid, small enough for memory; 0 of the truth is background.
    number
        How many fragments there are.

    Returns
    -------
    ndarray of int64, (number + 1,)
    """
    names = fragments.read().astype(np.int64).ravel()
    labels = truth.read(fragments.roi).astype(np.int64).ravel()
    known = (names > 0) & (labels > 0)
    there, place = np.unique(labels[known], return_inverse=True)
    keys, voxels = np.unique(names[known] * len(there) + place, return_counts=True)
    order = np.argsort(voxels, kind="stable")  # the last to be written is the largest
    objects = np.zeros(number + 1, np.int64)
    if len(there):
        objects[keys[order] // len(there)] = there[keys[order] % len(there)]
    return objects
