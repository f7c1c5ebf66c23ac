"""Several people's logs become one; where they contradict each other, the conflicts are named."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import NamedTuple

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


def merge_logs(
    a: Sequence[Line], b: Sequence[Line], mapping: SegmentMap
) -> tuple[list[Edit], list[Conflict]]:
    """`merge_all` of two logs."""
    return merge_all([a, b], mapping)


def merge_all(logs: Sequence[Sequence[Line]], mapping: SegmentMap) -> tuple[list[Edit], list[Conflict]]:
    """Edits that hold of several logs, in an order in which all get what they wanted, if there is one.

    What an author wants: whatever an edit made one, apart or background and that still is so at the end of
    the author's own log. The order of time is tried first, then one log after the other. An edit that another
    log has made already is left out.

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


def _wishes(edits: Sequence[Edit], mapping: SegmentMap) -> list[_Wish]:
    """What of an author's edits is so at the end of the author's own log."""
    for edit in edits:
        mapping.apply(edit)
    found = [wish for edit in edits for wish in _possible(edit) if wish.holds(mapping)]
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
    order: Sequence[Edit], wishes: Sequence[_Wish], mapping: SegmentMap
) -> tuple[list[Edit], list[_Wish]]:
    """The edits that could be made in this order, and the first wish of each edit that was not fulfilled."""
    done: list[Edit] = []
    for edit in order:
        try:
            mapping.apply(edit)
        except ConnectomicsError:  # made by another already, or impossible now: the wishes tell which
            continue
        done.append(edit)
    broken: dict[str, _Wish] = {}
    for wish in wishes:
        if wish.edit.id not in broken and not wish.holds(mapping):
            broken[wish.edit.id] = wish
    for _ in done:
        mapping.undo()
    return done, list(broken.values())


def _conflict(wish: _Wish, held: Sequence[Sequence[Edit]]) -> Conflict:
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
