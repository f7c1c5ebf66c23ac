"""What a reviewer decides, as values: merge, split, delete, a look at a place, undo, redo."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from connectomics.errors import FormatError, did_you_mean
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

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

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

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

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
    edit : str
        Id of the edit that decided it; the verdict holds as long as that does.
    """

    fragments: tuple[int, int]
    verdict: Verdict
    seconds: float = 0.0
    edit: str = ""


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
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise FormatError(f"unknown kind of line {kind!r}.{did_you_mean(str(kind), KINDS)}")
    try:
        return _adapter(kind).validate_json(json.dumps({k: v for k, v in value.items() if k != "kind"}))
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"])
        raise FormatError(f"{kind}: '{where}': {found['msg']}.") from None


@cache
def _adapter(kind: str) -> TypeAdapter[Line]:
    return TypeAdapter(KINDS[kind])


def kind_of(line: Line) -> str:
    """Its name in the log: merge, split, delete, decision, undo or redo."""
    return next(name for name, kind in KINDS.items() if type(line) is kind)


def history(lines: Sequence[Line]) -> tuple[list[Edit], list[Edit]]:
    """The edits that hold after all undoing and redoing, in order, and those that `Redo` may bring back.

    Raises
    ------
    FormatError
        An edit is undone that does not hold, or redone that was not undone; the log was tampered with.
    """
    held: list[Edit] = []
    undone: list[Edit] = []
    for line in lines:
        if isinstance(line, Undo | Redo):
            source, target = (held, undone) if isinstance(line, Undo) else (undone, held)
            if not source or source[-1].id != line.of:
                raise FormatError(f"{kind_of(line)} of edit {line.of}: it is not the last that could be.")
            target.append(source.pop())
        elif not isinstance(line, Decision):
            held.append(line)
            undone.clear()
    return held, undone
