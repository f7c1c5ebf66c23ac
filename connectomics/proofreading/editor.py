"""Edits as they happen: applied to the mapping, saved in the log, undone and redone; all or nothing."""

from collections.abc import Callable

from connectomics.proofreading.edits import Decision, Edit, Line, Redo, Undo, Verdict, history
from connectomics.proofreading.log import EditLog
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output


class Editor:
    """The mapping and the log of one author, kept in step.

    Parameters
    ----------
    output
        The segmentation.
    log
        Its lines are replayed.

    Attributes
    ----------
    mapping : SegmentMap
    verdicts : dict
        What was decided on (fragment, fragment) and still holds.
    seconds : list of float
        How long each decision took.
    revision : int
        Rises with every change of the segmentation.
    changes : set of int
        Segments that changed since somebody emptied it.

    Raises
    ------
    FormatError, InputError
        The log does not fit together.
    """

    def __init__(self, output: Output, log: EditLog) -> None:
        self.output, self.log = output, log
        self.mapping = SegmentMap(output.lut, output.voxels)
        self.revision = 0
        self.changes: set[int] = set()
        held, self.undone = history(log.lines)
        for edit in held:
            self.mapping.apply(edit)
        self.verdicts: dict[tuple[int, int], Verdict] = {}
        self._judge()
        self.seconds = [line.seconds for line in log.lines if isinstance(line, Decision)]

    def do(self, edit: Edit, decide: Callable[[frozenset[int]], Decision | None]) -> frozenset[int]:
        """Apply and save an edit; the segments that changed.

        `decide` is told of these, and may give the decision on a candidate that the edit makes.
        """
        changed = self.mapping.apply(edit)
        try:
            decision = decide(changed)
            self._save(edit, *([decision] if decision else []))
        except BaseException:
            self.mapping.undo()
            raise
        self.undone.clear()
        if decision is not None:
            self._remember(decision)
        return self._changed(changed)

    def decide(self, decision: Decision) -> None:
        """Save a decision that changes nothing."""
        self._save(decision)
        self._remember(decision)

    def undo(self, author: str) -> tuple[Edit, frozenset[int]] | None:
        """Take the last edit that holds back, and the decision that it made."""
        if not self.mapping.edits:
            return None
        edit = self.mapping.edits[-1]
        self._save(Undo(author=author, place=edit.place, of=edit.id))
        changed = self.mapping.undo()
        self.undone.append(edit)
        self._judge()
        return edit, self._changed(changed)

    def redo(self, author: str) -> tuple[Edit, frozenset[int]] | None:
        """Do the last edit that was undone again."""
        if not self.undone:
            return None
        edit = self.undone[-1]
        changed = self.mapping.apply(edit)
        try:
            self._save(Redo(author=author, place=edit.place, of=edit.id))
        except BaseException:
            self.mapping.undo()
            raise
        self.undone.pop()
        self._judge()
        return edit, self._changed(changed)

    def _save(self, *lines: Line) -> None:
        self.output.check_unchanged()
        self.log.append(*lines)

    def _changed(self, segments: frozenset[int]) -> frozenset[int]:
        self.revision += 1
        self.changes |= segments
        return segments

    def _remember(self, decision: Decision) -> None:
        self.verdicts[decision.fragments] = decision.verdict
        self.seconds.append(decision.seconds)

    def _judge(self) -> None:
        """Gather the verdicts that hold: the last on each candidate whose edit, if it was one, holds."""
        there = {edit.id for edit in self.mapping.edits}
        self.verdicts.clear()
        for line in self.log.lines:
            if isinstance(line, Decision) and (not line.edit or line.edit in there):
                self.verdicts[line.fragments] = line.verdict
