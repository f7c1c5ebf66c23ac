"""A review: the queue, the edits, undo and redo, all saved as they happen; what a viewer drives and draws."""

import getpass
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.io.place import Place
from connectomics.io.skeletons import Skeletons
from connectomics.proofreading.counters import Counters, count
from connectomics.proofreading.editor import Editor
from connectomics.proofreading.edits import Decision, Delete, Edit, Merge, Verdict
from connectomics.proofreading.live import LiveSegments, live_levels
from connectomics.proofreading.log import EditLog, log_path
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output, edits_folder, open_output
from connectomics.proofreading.ranking import Candidate, Order, is_answered, rank
from connectomics.proofreading.split import Seed, fragments_at, split_between, split_by_seeds
from connectomics.proofreading.walk import Walk
from connectomics.roi import Triple, triple

__all__ = ["Counters", "ReviewSession"]


class ReviewSession:
    """One author's review of one volume; make it with `open`, use it as a context manager or `close` it.

    Every edit and every decision is on the disk when its method returns. A method that raises has changed
    nothing. Not for several threads at once, except that `levels` may be read from any.

    Attributes
    ----------
    output : Output
    mapping : SegmentMap
    author : str
    levels : list of LiveSegments
        The current segmentation, the finest first; always up to date.
    """

    def __init__(self, output: Output, log: EditLog, author: str) -> None:
        self.output, self.author = output, author
        self._log, self._editor = log, Editor(output, log)
        self.mapping: SegmentMap = self._editor.mapping
        self.levels: list[LiveSegments] = live_levels(output.levels, self.mapping)

    @classmethod
    def open(
        cls,
        location: str | Place,
        author: str | None = None,
        *,
        order: Order = "run-length",
        errors: Path | None = None,
        seed: int = 0,
        log_folder: Path | None = None,
    ) -> Self:
        """Open a `segment` output, replay the author's log, and rank what is left.

        Parameters
        ----------
        location
            ``OUT.zarr``.
        author
            Name of the log; default: the user's name on this machine.
        order
            How the queue is ranked.
        errors
            The table of ``score --errors``, for `order` "errors".
        seed
            For `order` "random".
        log_folder
            Where logs are kept; default ``OUT.zarr/edits``. Needed where OUT.zarr is in a bucket.

        Raises
        ------
        InputError
            No `segment` output, or a bucket without `log_folder`.
        VolumeChangedError, BusyError, FormatError
            See `connectomics.proofreading.log.EditLog`.
        """
        output = open_output(location)
        name = author if author is not None else getpass.getuser()
        log = EditLog(log_path(edits_folder(output, log_folder), name), output.binding)
        try:
            session = cls(output, log, name)
            session.rank_by(order, errors=errors, seed=seed)
        except BaseException:
            log.close()
            raise
        return session

    def rank_by(self, order: Order, *, errors: Path | None = None, seed: int = 0) -> None:
        """Rank the queue anew and go to its best; decisions are kept.

        Raises
        ------
        InputError
            `order` is none, or "errors" without a table.
        """
        self._walk = Walk(rank(self.output, self.mapping, self._editor.verdicts, order, errors, seed))

    @property
    def current(self) -> Candidate | None:
        """The candidate in view; None where the queue is empty. Its clock starts when it comes into view."""
        return self._walk.current

    def candidates(self, number: int) -> list[Candidate]:
        """The best candidates that are not decided, `current` first; nothing moves."""
        return self._walk.ahead(number)

    def next(self) -> Candidate | None:
        """Go on without a decision (it comes again in the next session)."""
        self._walk.next()
        return self.current

    def previous(self) -> Candidate | None:
        """Go back to the one before, decided or not; `current` again where there is none."""
        self._walk.previous()
        return self.current

    def accept(self) -> Candidate | None:
        """The segmentation is right at `current`; the next candidate."""
        self._editor.decide(self._decision("accept"))
        self._walk.queue.decided()
        return self.next()

    def skip(self) -> Candidate | None:
        """Leave `current` open, and do not ask again; the next candidate."""
        self._editor.decide(self._decision("skip"))
        return self.next()

    def apply(self) -> Edit:
        """Do what `current` suggests: merge its two segments, or split its segment between its fragments.

        The candidate is then decided ("edit"); `next` goes on.

        Raises
        ------
        InputError
            The queue is empty, or the edit makes no sense any more.
        """
        current = self._in_view()
        u, v = current.fragments
        if 0 in current.segments:
            raise InputError(f"fragment {u} or {v} is background now: there is nothing to {current.kind}.")
        if current.kind == "merge":
            return self.merge(u, v, current.place)
        return self._do(split_between(self.output, self.mapping, {u: 1, v: 2}, self.author, current.place))

    def merge(self, a: int, b: int, place: Triple | None = None) -> Edit:
        """Make the segments of two fragments (see `fragment_at`) one.

        An edit of the segments of `current` decides it ("edit").

        Raises
        ------
        InputError
            They are one already, or there is no such fragment; or it cannot be saved (`NoSpaceError` too).
        VolumeChangedError
            The segmentation on the disk was replaced.
        """
        return self._do(Merge(author=self.author, place=self._somewhere(place), a=a, b=b))

    def split(self, seeds: Sequence[Seed]) -> Edit:
        """Part seeds of different groups in the segment under them; raises as `merge`, `split_by_seeds`."""
        return self._do(split_by_seeds(self.output, self.mapping, seeds, self.author))

    def delete(self, fragment: int, place: Triple | None = None) -> Edit:
        """Make the segment of a fragment background; raises as `merge`."""
        return self._do(Delete(author=self.author, place=self._somewhere(place), fragment=fragment))

    def undo(self) -> Edit | None:
        """Take the last edit that holds back; None where there is none. What it decided is asked again."""
        before = set(self._editor.verdicts)
        edit = self._follow(self._editor.undo(self.author))
        self._walk.reopen(before - set(self._editor.verdicts))
        return edit

    def redo(self) -> Edit | None:
        """Do the last edit that was undone again; None where there is none, or an edit was made since."""
        return self._follow(self._editor.redo(self.author))

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would do something."""
        return bool(self.mapping.edits)

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would do something."""
        return bool(self._editor.undone)

    @property
    def revision(self) -> int:
        """Rises with every change of the segmentation."""
        return self._editor.revision

    def fragment_at(self, place: Triple) -> int:
        """Fragment (or piece) at a point, nm zyx; 0 on the background and outside the volume."""
        roi = self.output.fragments.roi
        point = triple(place)
        if not all(a <= p < b for a, p, b in zip(roi.offset, point, roi.end, strict=True)):
            return 0
        return int(fragments_at(self.output, self.mapping, np.array([point]))[0])

    def segment_at(self, place: Triple) -> int:
        """Current segment at a point, nm zyx; 0 on the background and outside the volume."""
        fragment = self.fragment_at(place)
        return self.mapping.segment_of(fragment) if fragment else 0

    def lut_of(self, fragments: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Current segments of a block of ``labels/fragments``; pieces of cut fragments need `levels`."""
        return self.mapping.segments_of(fragments)

    def take_changes(self) -> frozenset[int]:
        """Ids of the segments that changed, appeared or went since the last call."""
        found = frozenset(self._editor.changes)
        self._editor.changes.clear()
        return found

    @property
    def counters(self) -> Counters:
        """How far the review is."""
        return count(self._editor, self._walk)

    @property
    def read_only(self) -> str | None:
        """Why nothing can be edited; None where it can."""
        return self._log.read_only

    def score(self, skeletons: Skeletons) -> dict[str, Any]:
        """Run length before and after the edits, and where the errors are.

        Returns
        -------
        dict
            ``before`` and ``after``, each as `connectomics.evaluation.skeletons.skeleton_scores`; ``errors``,
            a list of `connectomics.evaluation.skeleton_errors.SkeletonError` after the edits, the costliest
            first.
        """
        from connectomics.proofreading.scoring import score_edits

        return score_edits(self.output, self.mapping, skeletons)

    def close(self) -> None:
        """Let others review under this name; nothing needs saving."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _in_view(self) -> Candidate:
        current = self.current
        if current is None:
            raise InputError("the queue is empty: there is nothing to decide.")
        return current

    def _somewhere(self, place: Triple | None) -> Triple:
        if place is not None:
            return triple(place, "place")
        current = self.current
        return current.place if current is not None else triple(self.output.fragments.offset)

    def _do(self, edit: Edit) -> Edit:
        current = self.current

        def decide(changed: frozenset[int]) -> Decision | None:
            if current is None or current.verdict is not None or not set(current.segments) & changed:
                return None
            return self._decision("edit", edit.id, current) if is_answered(current, self.mapping) else None

        self._walk.queue.changed(self._editor.do(edit, decide))
        return edit

    def _follow(self, done: tuple[Edit, frozenset[int]] | None) -> Edit | None:
        if done is None:
            return None
        self._walk.queue.changed(done[1])
        return done[0]

    def _decision(self, verdict: Verdict, edit: str = "", current: Candidate | None = None) -> Decision:
        current = current or self._in_view()
        return Decision(
            author=self.author,
            place=current.place,
            fragments=current.fragments,
            verdict=verdict,
            seconds=round(self._walk.seconds, 3),
            edit=edit,
        )
