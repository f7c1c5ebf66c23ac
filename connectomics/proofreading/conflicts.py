"""Several people's logs become one; where they contradict each other, the conflicts are named."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ConnectomicsError
from connectomics.proofreading.edits import Delete, Edit, Line, Merge, Split, history
from connectomics.proofreading.mapping import SegmentMap
from connectomics.roi import Triple


@dataclass(frozen=True)
class Conflict:
    """Two edits of two logs that cannot both hold.

    Attributes
    ----------
    what : str
        For people: who wants what, and who something else.
    place : tuple of float
        nm, zyx.
    edits : tuple of str
        Ids of the edits.
    """

    what: str
    place: Triple
    edits: tuple[str, ...]


class _Wish(NamedTuple):
    """What an edit wants of the result, and what its author's own log gives it."""

    edit: Edit
    kind: str
    """"one", "apart", "deleted" or "there"."""
    fragments: tuple[int, ...]

    def holds(self, mapping: SegmentMap) -> bool:
        try:
            segments = [mapping.segment_of(fragment) for fragment in self.fragments]
        except ConnectomicsError:  # a piece of a cut that was not made
            return False
        if self.kind == "deleted":
            return segments == [0]
        if self.kind == "there":
            return 0 not in segments
        return (segments[0] == segments[1]) == (self.kind == "one")

    def __str__(self) -> str:
        names = " and ".join(str(fragment) for fragment in self.fragments)
        wants = {"one": "one segment", "apart": "kept apart", "deleted": "deleted", "there": "kept"}
        return f"fragment{'s' * (len(self.fragments) > 1)} {names} {wants[self.kind]}"


class _Sides(NamedTuple):
    """Whole sides that a split made in its author's own log: none may be joined to another."""

    edit: Split
    stays: NDArray[np.int64]
    leave: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, edit: Split, mapping: SegmentMap, fragments: int) -> "_Sides":
        """Those of a split that was made just now; pieces of cut fragments are left out."""
        sides = (mapping.fragments_of(mapping.segment_of(edit.kept)), *map(np.array, edit.groups))
        stays, *leave = (side[side < fragments].astype(np.int64) for side in sides)
        return cls(edit, stays, tuple(leave))

    @property
    def fragments(self) -> tuple[int, ...]:
        return tuple(int(side[0]) for side in (self.stays, *self.leave) if len(side))

    def holds(self, mapping: SegmentMap) -> bool:
        found = [np.unique(mapping.segments_of(side)) for side in (self.stays, *self.leave)]
        every = np.concatenate(found)
        every = every[every > 0]
        return len(np.unique(every)) == len(every)

    def left(self, mapping: SegmentMap) -> Iterator[Split]:
        """What of the split can still be made: a split of each segment that holds parts of two sides."""
        segments = mapping.segments_of(self.stays)
        for segment in np.unique(segments[segments > 0]):
            groups = (side[mapping.segments_of(side) == segment].tolist() for side in self.leave)
            leaving = tuple(tuple(group) for group in groups if group)
            if leaving:
                yield replace(self.edit, groups=leaving, kept=int(self.stays[segments == segment][0]))

    def __str__(self) -> str:
        return f"the sides of fragments {' and '.join(map(str, self.fragments))} kept apart"


_Wanted = _Wish | _Sides


def merge_logs(
    a: Sequence[Line], b: Sequence[Line], mapping: SegmentMap
) -> tuple[list[Edit], list[Conflict]]:
    """`merge_all` of two logs."""
    return merge_all([a, b], mapping)


def merge_all(logs: Sequence[Sequence[Line]], mapping: SegmentMap) -> tuple[list[Edit], list[Conflict]]:
    """Edits that hold of several logs, in an order in which all get what they wanted, if there is one.

    What an author wants: whatever an edit made one, apart or background and that still is so at the end of
    the author's own log. The order of time is tried first, then one log after the other. An edit that another
    log has made already is left out; of a split that another has made in part, the rest is made.

    Parameters
    ----------
    logs
        Lines of logs of one volume.
    mapping
        Of that volume, without edits; left as it was.

    Returns
    -------
    edits, conflicts
        Where there are conflicts, the edits are in the order of time, and those that failed are left out.

    Raises
    ------
    FormatError, InputError
        A log does not fit together, or names fragments that are not there.
    """
    held = [history(log)[0] for log in logs]
    wishes = [wish for edits in held for wish in _wishes(edits, mapping)]
    first: tuple[list[Edit], list[Conflict]] | None = None
    for order in _orders(held):
        done, broken = _tried(order, wishes, mapping)
        if not broken:
            return done, []
        first = first or (done, [_conflict(wish, held) for wish in broken])
    return first or ([], [])


def _orders(held: Sequence[Sequence[Edit]]) -> Iterator[list[Edit]]:
    """Orders to try: by time, then log after log in a few ways; an edit that is in two logs counts once."""
    yield _once(sorted((edit for edits in held for edit in edits), key=lambda edit: (edit.time, edit.id)))
    for number, order in enumerate(permutations(held)):
        if number == 24:  # all orders of four logs
            return
        yield _once([edit for edits in order for edit in edits])


def _once(edits: Sequence[Edit]) -> list[Edit]:
    return list({edit.id: edit for edit in edits}.values())


def _wishes(edits: Sequence[Edit], mapping: SegmentMap) -> list[_Wanted]:
    """What of an author's edits is so at the end of the author's own log."""
    sides, fragments = list[_Sides](), len(mapping.table())
    for edit in edits:
        mapping.apply(edit)
        if isinstance(edit, Split):
            sides.append(_Sides.of(edit, mapping, fragments))
    possible: list[_Wanted] = [*(wish for edit in edits for wish in _possible(edit)), *sides]
    found = [wish for wish in possible if wish.holds(mapping)]
    for _ in edits:
        mapping.undo()
    return found


def _possible(edit: Edit) -> Iterator[_Wish]:
    if isinstance(edit, Merge):
        yield _Wish(edit, "one", (edit.a, edit.b))
        yield _Wish(edit, "there", (edit.a,))
    elif isinstance(edit, Delete):
        yield _Wish(edit, "deleted", (edit.fragment,))
    else:
        ends = [edit.kept, *(group[0] for group in edit.groups)]
        for pair in combinations(ends[:16], 2):
            yield _Wish(edit, "apart", pair)
        for end in ends:
            yield _Wish(edit, "there", (end,))


def _tried(
    order: Sequence[Edit], wishes: Sequence[_Wanted], mapping: SegmentMap
) -> tuple[list[Edit], list[_Wanted]]:
    """The edits that could be made in this order, and the first wish of each edit that was not fulfilled."""
    done: list[Edit] = []
    sides = {wish.edit.id: wish for wish in wishes if isinstance(wish, _Sides)}
    for edit in order:
        if _applied(edit, mapping):
            done.append(edit)
        elif edit.id in sides:
            done += [part for part in sides[edit.id].left(mapping) if _applied(part, mapping)]
    broken: dict[str, _Wanted] = {}
    for wish in wishes:
        if wish.edit.id not in broken and not wish.holds(mapping):
            broken[wish.edit.id] = wish
    for _ in done:
        mapping.undo()
    return done, list(broken.values())


def _applied(edit: Edit, mapping: SegmentMap) -> bool:
    """Apply an edit; False where another has made it already, or it cannot be made now: wishes tell which."""
    try:
        mapping.apply(edit)
    except ConnectomicsError:
        return False
    return True


def _conflict(wish: _Wanted, held: Sequence[Sequence[Edit]]) -> Conflict:
    """Name what stands against a wish: another author's edit of the same fragments, or the nearest."""
    mine = wish.edit
    others = [edit for edits in held if all(one.id != mine.id for one in edits) for edit in edits]
    touching = [edit for edit in others if _named(edit) & (_named(mine) | set(wish.fragments))]
    where = f"at {tuple(round(value) for value in mine.place)} nm (z y x)"
    if not (touching or others):
        what = f"{mine.author}'s {_said(mine)} {where} cannot hold: it wants {wish}"
        return Conflict(what, mine.place, (mine.id,))
    against = min(touching or others, key=lambda edit: (_distance(edit.place, mine.place), edit.id))
    what = (
        f"{mine.author}'s {_said(mine)} {where}, which wants {wish}, stands against {against.author}'s "
        f"{_said(against)}"
    )
    return Conflict(what, mine.place, (mine.id, against.id))


def _named(edit: Edit) -> set[int]:
    if isinstance(edit, Merge):
        return {edit.a, edit.b}
    if isinstance(edit, Split):
        return {edit.kept, *(fragment for group in edit.groups for fragment in group)} | {
            cut.fragment for cut in edit.cuts
        }
    return {edit.fragment}


def _said(edit: Edit) -> str:
    if isinstance(edit, Merge):
        return f"merge of fragments {edit.a} and {edit.b}"
    if isinstance(edit, Delete):
        return f"deletion of fragment {edit.fragment}'s segment"
    return f"split of fragments {', '.join(str(group[0]) for group in edit.groups)} from {edit.kept}"


def _distance(a: Triple, b: Triple) -> float:
    return sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
