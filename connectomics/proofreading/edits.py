"""What a reviewer decides, as values: merge, split, delete, look at a place, undo, redo; one JSON line each."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from connectomics.errors import FormatError
from connectomics.roi import IntTriple, Triple

FIRST_PIECE = 1 << 52
"""Ids of pieces of a cut fragment are above this, those of fragments below."""

Verdict = Literal["accept", "skip", "edit"]
"""accept: right as it is. skip: left open. edit: an edit was made there."""


def now() -> str:
    """The time, UTC, as an edit carries it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What every line of a log says.

    Attributes
    ----------
    author : str
        Who.
    place : tuple of float
        Where, nm, zyx.
    id : str
        A UUID: the same edit in two logs is one edit.
    time : str
        UTC, ISO 8601; strings sort as times do.
    """

    author: str
    place: Triple
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    time: str = field(default_factory=now)


@dataclass(frozen=True, kw_only=True)
class Merge(Entry):
    """The segment of one fragment and the segment of another are one.

    Attributes
    ----------
    a, b : int
        A fragment (or piece) of either.
    """

    a: int
    b: int


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A fragment cut into pieces, voxel by voxel, inside a box; outside it, the fragment stays what it was.

    Attributes
    ----------
    fragment : int
        The fragment (or piece) that is cut.
    pieces : tuple of int
        Ids of the pieces, all above `FIRST_PIECE`.
    corner, shape : tuple of int
        The box, voxels of the finest level, zyx.
    labels : str
        base64 of zlib of (z, y, x) uint8: 0 = not of this fragment, k = ``pieces[k - 1]``.
    contacts : tuple of (int, int, int)
        (number of a piece, fragment or piece beside it, faces of voxels that they share).
    """

    fragment: int
    pieces: tuple[int, ...]
    corner: IntTriple
    shape: IntTriple
    labels: str
    contacts: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Split(Entry):
    """Some fragments leave their segment, each group as a segment of its own; what is not named stays.

    Attributes
    ----------
    groups : tuple of tuple of int
        The fragments (or pieces) of each group that leaves.
    kept : int
        A fragment (or piece) that stays.
    cuts : tuple of Cut
        Fragments cut first, whose pieces `groups` and `kept` may name.
    seeds : tuple of (group, z, y, x)
        The points, nm, that the split was made from, for the record; replaying needs none of them.
    """

    groups: tuple[tuple[int, ...], ...]
    kept: int
    cuts: tuple[Cut, ...] = ()
    seeds: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Delete(Entry):
    """The segment of a fragment becomes background.

    Attributes
    ----------
    fragment : int
        A fragment (or piece) of it.
    """

    fragment: int


@dataclass(frozen=True, kw_only=True)
class Decision(Entry):
    """A candidate of the queue was looked at.

    Attributes
    ----------
    fragments : tuple of int
        The two fragments of the candidate.
    verdict : str
        See `Verdict`.
    seconds : float
        How long it was in view.
    """

    fragments: tuple[int, int]
    verdict: Verdict
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Undo(Entry):
    """An edit no longer holds.

    Attributes
    ----------
    of : str
        Id of the edit.
    """

    of: str


@dataclass(frozen=True, kw_only=True)
class Redo(Entry):
    """An edit that was undone holds again.

    Attributes
    ----------
    of : str
        Id of the edit.
    """

    of: str


Edit = Merge | Split | Delete
"""What changes the segmentation."""

Line = Edit | Decision | Undo | Redo
"""What a line of a log may be."""

KINDS: dict[str, type[Line]] = {
    "merge": Merge,
    "split": Split,
    "delete": Delete,
    "decision": Decision,
    "undo": Undo,
    "redo": Redo,
}


def to_json(line: Line) -> dict[str, Any]:
    """The line as plain JSON values, with its ``kind``."""
    return {"kind": kind_of(line)} | asdict(line)


def from_json(value: Mapping[str, Any]) -> Line:
    """The line again from what `to_json` gave.

    Raises
    ------
    FormatError
        An unknown kind, a field that is missing or not known, a value of the wrong type.
    """
    raise NotImplementedError


def kind_of(line: Line) -> str:
    """Its name in the log: merge, split, delete, decision, undo or redo."""
    return next(name for name, kind in KINDS.items() if type(line) is kind)


def active(lines: list[Line]) -> list[Edit]:
    """The edits that hold after all undoing and redoing, in the order in which they apply."""
    raise FormatError("not built yet")
