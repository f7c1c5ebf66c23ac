"""The review without a screen: what each key and click does to the session, and what the view is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from connectomics.errors import ConnectomicsError
from connectomics.proofreading.edits import Edit
from connectomics.proofreading.focus import Focus, focus_on, seeds_from_paint
from connectomics.proofreading.ranking import Candidate, Order
from connectomics.proofreading.session import ReviewSession
from connectomics.proofreading.split import Seed
from connectomics.roi import Triple
from napari_connectomics.review_words import describe, facts, progress, question

Mode = Literal["look", "merge", "split", "delete"]

FIRST_GROUP, SECOND_GROUP = 1, 2


@dataclass(frozen=True)
class Status:
    """What the dock says.

    Attributes
    ----------
    question : str
        What is asked of the place in view.
    facts : str
        Why it is asked.
    progress : str
        Counters and time.
    mode : str
        What a click does.
    can_undo, can_redo : bool
        Whether there is something to undo, or to redo.
    read_only : str or None
        Why nothing can be edited.
    """

    question: str
    facts: str
    progress: str
    mode: Mode
    can_undo: bool
    can_redo: bool
    read_only: str | None


class ReviewView(Protocol):
    """What the controller asks of the window."""

    def frame(self, focus: Focus) -> None:
        """Jump to a place so that the box fills the view, and show its two sides alone."""

    def repaint_focus(self, focus: Focus) -> None:
        """The two sides of the place in view have changed; the view stays where it is."""

    def redraw(self) -> None:
        """The segmentation has changed: read what is in view again."""

    def show_seeds(self, seeds: Sequence[Seed]) -> None:
        """Draw the seeds of a split, or the first click of a merge."""

    def end_painting(self) -> None:
        """Drop seeds that were painted: they were for the place that was in view."""

    def show_status(self, status: Status) -> None:
        """Say how things stand."""

    def tell(self, text: str, error: bool = False) -> None:
        """Say what was done, or what could not be."""


class ReviewController:
    """Drives one session.

    Parameters
    ----------
    session
        The review.
    view
        What draws.
    """

    def __init__(self, session: ReviewSession, view: ReviewView) -> None:
        self.session = session
        self.view = view
        self.mode: Mode = "look"
        self.seeds: list[Seed] = []
        self._first: tuple[int, Triple] | None = None

    # --- the queue -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Show the first candidate."""
        self._show(self.session.current)

    def next(self) -> None:
        """Go on without a decision."""
        self._move(self.session.next)

    def previous(self) -> None:
        """Go back."""
        self._move(self.session.previous)

    def accept(self) -> None:
        """The segmentation is right here."""
        self._move(self.session.accept)

    def skip(self) -> None:
        """Leave it open."""
        self._move(self.session.skip)

    def apply(self) -> None:
        """Do what the candidate suggests, and go on."""
        if self._edit(self.session.apply):
            self._move(self.session.next)

    def rank_by(self, order: Order, errors: Path | None = None) -> None:
        """Rank the queue anew and show its first candidate."""

        def rank() -> Candidate | None:
            self.session.rank_by(order, errors=errors)
            return self.session.current

        self._move(rank)

    # --- edits ---------------------------------------------------------------------------------------------

    def set_mode(self, mode: Mode) -> None:
        """What a click does from now on; what was begun is dropped."""
        self.mode = mode
        self._clear()
        self._say_status()

    def click(self, place: Triple, second: bool = False) -> None:
        """A click on the segmentation at a point (nm, zyx); `second` marks the other side of a split."""
        if self.mode == "merge":
            self._merge_click(place)
        elif self.mode == "split":
            self.seeds.append(Seed(place, SECOND_GROUP if second else FIRST_GROUP))
            self.view.show_seeds(self.seeds)
        elif self.mode == "delete":
            fragment = self.session.fragment_at(place)
            if fragment == 0:
                self.view.tell("There is no segment here to delete.")
            else:
                self._edit(lambda: self.session.delete(fragment, place))

    def merge_fragments(self, first: int, second: int, place: Triple | None = None) -> None:
        """Make the segments of two fragments one."""
        self._edit(lambda: self.session.merge(first, second, place))

    def split(self) -> None:
        """Split by the points that were clicked."""
        if self._edit(lambda: self.session.split(self.seeds)):
            self._clear()

    def split_painted(self, painted: "np.ndarray[Any, Any]", voxel_size: Triple, offset: Triple) -> bool:
        """Split by painted voxels, see `connectomics.proofreading.focus.seeds_from_paint`; True if it did."""
        done = self._edit(lambda: self.session.split(seeds_from_paint(painted, voxel_size, offset)))
        if done:
            self._clear()
        return done

    def undo(self) -> None:
        """Take the last edit back."""
        self._step(self.session.undo, "undone", "There is nothing to undo.")

    def redo(self) -> None:
        """Do the last undone edit again."""
        self._step(self.session.redo, "done again", "There is nothing to redo.")

    def close(self) -> None:
        """End the review; all is saved already."""
        self.session.close()

    # --- inside --------------------------------------------------------------------------------------------

    def _merge_click(self, place: Triple) -> None:
        fragment = self.session.fragment_at(place)
        if fragment == 0:
            self.view.tell("There is no segment here. Click inside one.")
        elif self._first is None:
            self._first = (fragment, place)
            self.view.show_seeds([Seed(place, FIRST_GROUP)])
            self.view.tell(f"Segment {self.session.segment_at(place)}: now click the one to merge it with.")
        else:
            first, _ = self._first
            self.merge_fragments(first, fragment, place)
            self._clear()

    def _clear(self) -> None:
        self._first = None
        self.seeds = []
        self.view.show_seeds([])
        self.view.end_painting()

    def _edit(self, action: Callable[[], Edit]) -> bool:
        """Make an edit; what could not be made is said, and nothing has changed then."""
        try:
            edit = action()
        except ConnectomicsError as error:
            self.view.tell(str(error), error=True)
            return False
        self._changed(describe(edit))
        return True

    def _step(self, action: Callable[[], Edit | None], done: str, nothing: str) -> None:
        try:
            edit = action()
        except ConnectomicsError as error:
            self.view.tell(str(error), error=True)
            return
        if edit is None:
            self.view.tell(nothing)
            return
        self._changed(f"{describe(edit)}: {done}")

    def _changed(self, text: str) -> None:
        self.session.take_changes()
        self.view.redraw()
        candidate = self.session.current
        if candidate is not None:
            self.view.repaint_focus(self._focus(candidate))
        self._say_status()
        self.view.tell(text)

    def _move(self, step: Callable[[], Candidate | None]) -> None:
        try:
            candidate = step()
        except ConnectomicsError as error:
            self.view.tell(str(error), error=True)
            return
        self._clear()
        self._show(candidate)

    def _show(self, candidate: Candidate | None) -> None:
        if candidate is not None:
            try:
                self.view.frame(self._focus(candidate))
            except ConnectomicsError as error:
                self.view.tell(str(error), error=True)
        self._say_status()

    def _focus(self, candidate: Candidate) -> Focus:
        return focus_on(self.session.output.levels[0], self.session.mapping, candidate)

    def _say_status(self) -> None:
        session = self.session
        candidate = session.current
        self.view.show_status(
            Status(
                question=question(candidate),
                facts=facts(candidate),
                progress=progress(session.counters),
                mode=self.mode,
                can_undo=session.can_undo,
                can_redo=session.can_redo,
                read_only=session.read_only,
            )
        )
