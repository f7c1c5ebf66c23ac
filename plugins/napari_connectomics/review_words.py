"""What a review says: the question, why it is asked, how far it is."""

import math

from connectomics.proofreading.edits import Edit, kind_of
from connectomics.proofreading.ranking import Candidate
from connectomics.proofreading.session import Counters


def question(candidate: Candidate | None) -> str:
    """What is asked of a reviewer."""
    if candidate is None:
        return "Nothing is left to decide."
    if candidate.kind == "merge":
        return "Are the two one neuron?"
    return "Are the two halves two neurons?"


def facts(candidate: Candidate | None) -> str:
    """Why it is asked."""
    if candidate is None:
        return "Choose another ranking, or end the review: every edit is saved."
    now = "kept apart" if candidate.kind == "merge" else "joined"
    decided = f" Decided before: {candidate.verdict}." if candidate.verdict else ""
    first, second = candidate.voxels
    return (
        f"Now {now}; wrong with probability {candidate.p_wrong:.2f}. "
        f"{first:,} and {second:,} voxels; {length(candidate.gain_nm)} of run length to gain.{decided}"
    )


def length(nm: float) -> str:
    """A length with a unit that suits it."""
    return f"{nm / 1000:,.1f} µm" if nm >= 1000 else f"{nm:,.0f} nm"


def progress(counters: Counters) -> str:
    """How far the review is."""
    seconds = counters.seconds_per_decision
    time = "" if math.isnan(seconds) else f", {seconds:.1f} s a decision"
    return (
        f"{counters.decided} decided ({counters.accepted} right, {counters.edited} edited, "
        f"{counters.skipped} skipped), {counters.remaining} left{time}. "
        f"{counters.merges} merges, {counters.splits} splits, {counters.deletes} deleted."
    )


def describe(edit: Edit) -> str:
    """An edit in a few words."""
    return {"merge": "merged", "split": "split", "delete": "deleted"}[kind_of(edit)].capitalize()
