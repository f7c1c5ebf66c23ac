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
    """The edit that the truth asks for at a candidate; None where the segmentation is right."""
    u, v = candidate.fragments
    one = objects[u] == objects[v]
    if objects[u] == 0 or objects[v] == 0 or one == (candidate.kind == "split"):
        return None
    if one:
        return Merge(author=AUTHOR, place=candidate.place, a=u, b=v)
    names = mapping.fragments_of(candidate.segments[0])
    wanted = dict.fromkeys(names[objects[names] == objects[u]].tolist(), 1)
    wanted |= dict.fromkeys(names[objects[names] == objects[v]].tolist(), 2)
    return split_between(output, mapping, wanted, AUTHOR, candidate.place)


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
    span = int(labels.max(initial=0)) + 1
    keys, voxels = np.unique(names[known] * span + labels[known], return_counts=True)
    order = np.argsort(voxels, kind="stable")  # the last to be written is the largest
    objects = np.zeros(number + 1, np.int64)
    objects[keys[order] // span] = keys[order] % span
    return objects
