"""Two people's logs: what agrees becomes one result in an order that suits both, what does not is named."""

import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from connectomics.proofreading.conflicts import merge_all, merge_logs
from connectomics.proofreading.edits import Delete, Merge, Split, Undo
from connectomics.proofreading.mapping import SegmentMap

LUT = np.array([0, 1, 1, 1, 2, 2, 3], np.uint64)
VOXELS = np.array([0, 10, 20, 30, 5, 5, 2])
TIMES = iter(f"2026-01-01T00:00:{n:02}" for n in range(60))


def by(author, kind, **more):
    return kind(author=author, place=(0.0, 0.0, 0.0), time=next(TIMES), **more)


@pytest.fixture(autouse=True)
def afresh():
    globals()["TIMES"] = iter(f"2026-01-01T00:{n // 60:02}:{n % 60:02}" for n in range(3600))


def merged(*logs):
    mapping = SegmentMap(LUT, VOXELS)
    edits, conflicts = merge_all(logs, mapping)
    assert mapping.edits == [] and mapping.table().tolist() == LUT.tolist(), "left as it was"
    for edit in edits:
        mapping.apply(edit)
    return mapping.table().tolist(), [conflict.what for conflict in conflicts]


def test_logs_that_touch_different_places_are_put_together():
    ann = [by("ann", Merge, a=4, b=6)]
    bob = [by("bob", Split, groups=((3,),), kept=1)]
    assert merged(ann, bob) == merged(bob, ann) == ([0, 1, 1, 4, 2, 2, 2], [])
    assert merged() == (LUT.tolist(), []) and merged(ann)[1] == []


def test_what_both_did_is_done_once():
    ann = [
        by("ann", Merge, a=4, b=6),
        by("ann", Split, groups=((3,),), kept=1),
        by("ann", Delete, fragment=5),
    ]
    bob = [
        by("bob", Merge, a=6, b=5),
        by("bob", Split, groups=((3,),), kept=2),
        by("bob", Delete, fragment=4),
    ]
    assert merged(ann, bob) == ([0, 1, 1, 4, 0, 0, 0], [])
    assert merged(ann, ann) == merged(ann)


def test_an_order_that_suits_both_is_found():
    """Ann joins 3 with 4; later Bob parts 3 from 1 and 2: in order of time 3 would lose 4 again."""
    ann = [by("ann", Merge, a=3, b=4)]
    bob = [by("bob", Split, groups=((3,),), kept=1)]
    table, conflicts = merged(ann, bob)
    assert conflicts == [] and table[3] == table[4] != table[1] == table[2]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("ann", "bob", "says"),
    [
        (
            [(Merge, {"a": 1, "b": 4})],
            [(Delete, {"fragment": 5})],
            "ann's merge of fragments 1 and 4 at .*stands against bob's deletion",
        ),
        (
            [(Split, {"groups": ((2,),), "kept": 1})],
            [(Merge, {"a": 1, "b": 6}), (Split, {"groups": ((6,),), "kept": 1}), (Merge, {"a": 2, "b": 6})],
            "wants fragments",
        ),
        (
            [(Split, {"groups": ((2,),), "kept": 1})],
            [(Split, {"groups": ((2, 3),), "kept": 1})],
            None,
        ),
        (
            [(Split, {"groups": ((1,),), "kept": 2})],
            [(Delete, {"fragment": 2})],
            "ann's split of fragments 1 from 2|bob's deletion",
        ),
    ],
)
def test_what_contradicts_is_named(ann, bob, says, turned):
    logs = [[by(who, kind, **more) for kind, more in edits] for who, edits in (("ann", ann), ("bob", bob))]
    alone = [merged(log) for log in logs]
    assert [conflicts for _, conflicts in alone] == [[], []]
    table, conflicts = merged(*(logs[::-1] if turned else logs))
    if says is None:  # both cuts can be had
        assert conflicts == [] and len({table[1], table[2], table[3]}) == 3
    else:
        assert conflicts and re.search(says, " ".join(conflicts)), conflicts


LONG = np.array([0, 1, 1, 1, 1, 1, 1, 1, 1], np.uint64)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("bob", "expected"),
    [
        (Split(author="bob", place=(0.0, 0.0, 0.0), groups=((5,),), kept=6), [1, 1, 1, 1, 5, 6, 6, 6]),
        (Split(author="bob", place=(0.0, 0.0, 0.0), groups=((4,),), kept=3), [1, 1, 1, 4, 5, 5, 5, 5]),
        (Split(author="bob", place=(0.0, 0.0, 0.0), groups=((4, 5),), kept=1), [1, 1, 1, 4, 5, 6, 6, 6]),
        (Split(author="bob", place=(0.0, 0.0, 0.0), groups=((7, 8),), kept=6), [1, 1, 1, 1, 5, 5, 7, 7]),
    ],
)
def test_two_splits_of_one_segment_are_both_made(bob, expected, turned):
    """Ann parts 1-4 from 5-8, by their ends 4 and 5; Bob cuts somewhere else, earlier or later."""
    ann = by("ann", Split, groups=((5, 6, 7, 8),), kept=4)
    bob = replace(bob, time="2025" if turned else "2027")
    mapping = SegmentMap(LONG, np.ones(9, np.int64))
    edits, conflicts = merge_all([[ann], [bob]], mapping)
    for edit in edits:
        mapping.apply(edit)
    found = mapping.table()[1:]
    assert conflicts == []
    for i, j in combinations(range(8), 2):
        assert (found[i] == found[j]) == (expected[i] == expected[j]), (found.tolist(), expected)


def test_what_an_author_took_back_stands_against_nobody():
    ann = [by("ann", Merge, a=1, b=4)]
    ann.append(by("ann", Undo, of=ann[0].id))
    assert merged(ann, [by("bob", Delete, fragment=5)]) == ([0, 1, 1, 1, 0, 0, 3], [])
    parted = [by("ann", Merge, a=1, b=4), by("ann", Split, groups=((4, 5),), kept=1)]
    _, conflicts = merged(parted, [by("bob", Delete, fragment=6)])
    assert conflicts == []


def test_a_conflict_names_its_edits_and_its_place():
    ann, bob = [by("ann", Merge, a=1, b=4)], [by("bob", Delete, fragment=5)]
    (conflict,) = merge_logs(ann, bob, SegmentMap(LUT, VOXELS))[1]
    assert set(conflict.edits) == {ann[0].id, bob[0].id} and conflict.place == (0.0, 0.0, 0.0)
