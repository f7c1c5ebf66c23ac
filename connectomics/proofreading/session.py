"""A review: the queue, the edits, undo and redo, all saved as they happen; what a viewer drives and draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from connectomics.io.place import Place
from connectomics.io.skeletons import Skeletons
from connectomics.proofreading.edits import Edit
from connectomics.proofreading.live import LiveSegments
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output
from connectomics.proofreading.ranking import Candidate, Order
from connectomics.proofreading.split import Seed
from connectomics.roi import Triple


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
    read_only : str or None
        Why nothing can be edited; None where it can.
    revision : int
        Rises with every change of the segmentation.
    """

    output: Output
    mapping: SegmentMap
    author: str
    levels: list[LiveSegments]
    revision: int

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
        raise NotImplementedError

    # --- the queue ---------------------------------------------------------------------------------------

    @property
    def current(self) -> Candidate | None:
        """The candidate in view; None where the queue is empty. Its clock starts when it comes into view."""
        raise NotImplementedError

    def candidates(self, number: int) -> list[Candidate]:
        """The best candidates that are not decided, `current` first; nothing moves."""
        raise NotImplementedError

    def next(self) -> Candidate | None:
        """Go on without a decision (it comes again in the next session)."""
        raise NotImplementedError

    def previous(self) -> Candidate | None:
        """Go back to the one before, decided or not; `current` again where there is none."""
        raise NotImplementedError

    def accept(self) -> Candidate | None:
        """The segmentation is right at `current`; the next candidate."""
        raise NotImplementedError

    def skip(self) -> Candidate | None:
        """Leave `current` open, and do not ask again; the next candidate."""
        raise NotImplementedError

    def apply(self) -> Edit:
        """Do what `current` suggests: merge its two segments, or split its segment between its fragments.

        The candidate is then decided ("edit"); `next` goes on.
        """
        raise NotImplementedError

    def rank_by(self, order: Order, *, errors: Path | None = None, seed: int = 0) -> None:
        """Rank the queue anew; decisions are kept."""
        raise NotImplementedError

    # --- edits -------------------------------------------------------------------------------------------

    def merge(self, a: int, b: int, place: Triple | None = None) -> Edit:
        """Make the segments of two fragments (see `fragment_at`) one."""
        raise NotImplementedError

    def split(self, seeds: Sequence[Seed]) -> Edit:
        """Split the segment under the seeds so that those of different groups are apart."""
        raise NotImplementedError

    def delete(self, fragment: int, place: Triple | None = None) -> Edit:
        """Make the segment of a fragment background."""
        raise NotImplementedError

    def undo(self) -> Edit | None:
        """Take the last edit that holds back; None where there is none."""
        raise NotImplementedError

    def redo(self) -> Edit | None:
        """Do the last edit that was undone again; None where there is none, or an edit was made since."""
        raise NotImplementedError

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would do something."""
        raise NotImplementedError

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would do something."""
        raise NotImplementedError

    # --- looking -----------------------------------------------------------------------------------------

    def fragment_at(self, place: Triple) -> int:
        """Fragment (or piece) at a point, nm zyx; 0 on the background and outside the volume."""
        raise NotImplementedError

    def segment_at(self, place: Triple) -> int:
        """Current segment at a point, nm zyx; 0 on the background and outside the volume."""
        raise NotImplementedError

    def lut_of(self, fragments: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Current segments of a block of ``labels/fragments``; pieces of cut fragments need `levels`."""
        raise NotImplementedError

    def take_changes(self) -> frozenset[int]:
        """Ids of the segments that changed, appeared or went since the last call."""
        raise NotImplementedError

    @property
    def counters(self) -> Counters:
        """How far the review is."""
        raise NotImplementedError

    @property
    def read_only(self) -> str | None:
        """Why nothing can be edited; None where it can."""
        raise NotImplementedError

    def score(self, skeletons: Skeletons) -> dict[str, Any]:
        """Run length before and after the edits, and where the errors are.

        Returns
        -------
        dict
            ``before`` and ``after``, each as `connectomics.evaluation.skeletons.skeleton_scores`; ``errors``,
            a list of `connectomics.evaluation.skeleton_errors.SkeletonError` after the edits, the costliest
            first.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let others review under this name; nothing needs saving."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
