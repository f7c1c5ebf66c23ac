"""How far a review is."""

import statistics
from dataclasses import dataclass

from connectomics.proofreading.editor import Editor
from connectomics.proofreading.edits import Delete, Merge, Split
from connectomics.proofreading.walk import Walk


@dataclass(frozen=True)
class Counters:
    """How far a review is; over all sessions of this author on this volume.

    Attributes
    ----------
    decided, accepted, skipped, edited : int
        Candidates decided on, and how.
    merges, splits, deletes : int
        Edits that hold.
    remaining : int
        Candidates still in the queue.
    seconds_per_decision : float
        Median, NaN before the first decision.
    """

    decided: int
    accepted: int
    skipped: int
    edited: int
    merges: int
    splits: int
    deletes: int
    remaining: int
    seconds_per_decision: float


def count(editor: Editor, walk: Walk) -> Counters:
    """The counters of a review as it is now."""
    verdicts, current = list(editor.verdicts.values()), walk.current
    kinds = [type(edit) for edit in editor.mapping.edits]
    return Counters(
        decided=len(verdicts),
        accepted=verdicts.count("accept"),
        skipped=verdicts.count("skip"),
        edited=verdicts.count("edit"),
        merges=kinds.count(Merge),
        splits=kinds.count(Split),
        deletes=kinds.count(Delete),
        remaining=len(walk.queue) + (current is not None and current.verdict is None),
        seconds_per_decision=statistics.median(editor.seconds) if editor.seconds else float("nan"),
    )
