"""Fragments to segments through merges, splits, deletes and undo: drawn by hand, and any sequence at all."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectomics.errors import FormatError, InputError
from connectomics.proofreading.edits import Cut, Delete, Merge, Split
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.pieces import pack, piece_ids

WHO = {"author": "ann", "place": (0.0, 0.0, 0.0)}

# fragment   0  1  2  3  4  5  6    segments: 1 = {1, 2, 3}, 2 = {4, 5}; 6 was dropped as too small
LUT = np.array([0, 1, 1, 1, 2, 2, 0], np.uint64)
VOXELS = np.array([99, 10, 20, 30, 5, 5, 2])


def fresh():
    return SegmentMap(LUT, VOXELS)


def table(mapping):
    return mapping.segments_of(np.arange(7)).tolist()


def test_a_merge_keeps_the_id_of_the_larger_segment_and_undo_gives_it_back():
    mapping = fresh()
    assert mapping.apply(Merge(a=4, b=1, **WHO)) == {1, 2}
    assert table(mapping) == [0, 1, 1, 1, 1, 1, 0]
    assert mapping.voxels_of(1) == 70 and mapping.voxels_of(2) == 0
    assert mapping.fragments_of(1).tolist() == [1, 2, 3, 4, 5]
    assert mapping.found_segments(1).tolist() == [1, 2]
    assert mapping.undo() == {1, 2}
    assert table(mapping) == LUT.tolist() and mapping.voxels_of(1) == 60 and mapping.voxels_of(2) == 10


def test_what_a_split_takes_away_gets_new_ids():
    mapping = fresh()
    assert mapping.apply(Split(groups=((2,), (3,)), kept=1, **WHO)) == {1, 3, 4}
    assert table(mapping) == [0, 1, 3, 4, 2, 2, 0]
    assert [mapping.voxels_of(segment) for segment in (1, 3, 4)] == [10, 20, 30]
    mapping.apply(Merge(a=3, b=4, **WHO))
    assert mapping.fragments_of(4).tolist() == [3, 4, 5] and mapping.found_segments(4).tolist() == [1, 2]
    mapping.undo()
    mapping.undo()
    mapping.apply(Split(groups=((1, 2),), kept=3, **WHO))
    assert table(mapping) == [0, 3, 3, 1, 2, 2, 0], "an id that undo gave back is used again"


def test_a_deleted_segment_is_background_until_something_is_merged_with_it():
    mapping = fresh()
    assert mapping.apply(Delete(fragment=5, **WHO)) == {2}
    assert table(mapping) == [0, 1, 1, 1, 0, 0, 0] and mapping.fragments_of(2).tolist() == []
    with pytest.raises(InputError, match="background already"):
        mapping.apply(Delete(fragment=4, **WHO))
    mapping.apply(Merge(a=1, b=4, **WHO))
    assert table(mapping) == [0, 1, 1, 1, 1, 1, 0]
    mapping.undo()
    assert table(mapping) == [0, 1, 1, 1, 0, 0, 0]


def test_a_fragment_that_was_dropped_as_too_small_can_be_brought_back():
    mapping = fresh()
    mapping.apply(Merge(a=6, b=5, **WHO))
    assert table(mapping) == [0, 1, 1, 1, 2, 2, 2] and mapping.voxels_of(2) == 12
    mapping.undo()
    assert table(mapping) == LUT.tolist()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (Merge(a=1, b=2, **WHO), "one segment already"),
        (Merge(a=1, b=7, **WHO), "fragment 7: there is none"),
        (Merge(a=0, b=1, **WHO), "fragment 0: there is none"),
        (Merge(a=1 << 53, b=1, **WHO), "there is none"),
        (Split(groups=((1,), (4,)), kept=2, **WHO), "not of one segment"),
        (Split(groups=((1,), (1,)), kept=2, **WHO), "only once"),
        (Split(groups=((1, 2, 3),), kept=3, **WHO), "nothing is left"),
        (Split(groups=(), kept=3, **WHO), "must name"),
        (Split(groups=((),), kept=3, **WHO), "must name"),
        (Delete(fragment=6, **WHO), "background already"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(edit, says):
    mapping = fresh()
    with pytest.raises(InputError, match=says):
        mapping.apply(edit)
    assert table(mapping) == LUT.tolist() and mapping.edits == []
    assert mapping.apply(Split(groups=((1,),), kept=2, **WHO)) == {1, 3}, "ids of what failed are free"


def cut_of(fragment, labels, corner, key="k"):
    labels = np.array(labels, np.uint8)
    ids = piece_ids(key, fragment, int(labels.max()))
    return Cut(fragment=fragment, pieces=ids, corner=corner, shape=labels.shape, labels=pack(labels))


def test_a_fragment_that_was_cut_is_two_segments_at_every_level():
    fragments = np.ones((4, 4, 8), np.uint64)
    mapping = SegmentMap(np.array([0, 1], np.uint64), np.array([0, fragments.size]))
    labels = np.ones((4, 4, 6), np.uint8)
    labels[:, :, 4:] = 2
    cut = cut_of(1, labels, (0, 0, 2))
    mapping.apply(Split(groups=((cut.pieces[1],),), kept=cut.pieces[0], cuts=(cut,), **WHO))
    assert mapping.overlay(fragments, (0, 0, 0))[1, 2].tolist() == [1] * 6 + [2] * 2
    assert mapping.overlay(fragments[2:, 1:, 5:7], (2, 1, 5))[1, 2].tolist() == [1, 2]
    assert mapping.overlay(fragments[::2, ::2, ::2], (0, 0, 0), (2, 2, 2))[0, 1].tolist() == [1, 1, 1, 2]
    assert mapping.overlay(fragments[:1, :1, 6:7], (0, 0, 3), (1, 1, 2)).tolist() == [[[2]]]
    assert (mapping.voxels_of(1), mapping.voxels_of(2)) == (96, 32)
    assert mapping.fragments_of(1).tolist() == [1, cut.pieces[0]], "voxels outside the box stay fragment 1"
    named = mapping.with_pieces(fragments, (0, 0, 0))
    assert named[0, 0].tolist() == [1, 1, *[cut.pieces[0]] * 4, *[cut.pieces[1]] * 2]
    again = cut_of(cut.pieces[0], labels[:, :, 3:5], (0, 0, 4), "other")  # a piece is cut again
    mapping.apply(Split(groups=((again.pieces[1],),), kept=1, cuts=(again,), **WHO))
    assert mapping.overlay(fragments, (0, 0, 0))[0, 0].tolist() == [1, 1, 1, 1, 1, 3, 2, 2]
    mapping.undo()
    mapping.undo()
    assert (mapping.overlay(fragments, (0, 0, 0)) == 1).all() and mapping.cuts == []
    with pytest.raises(InputError, match="there is none"):
        mapping.segment_of(cut.pieces[0])


def test_a_damaged_cut_is_named():
    mapping = SegmentMap(np.array([0, 1], np.uint64), np.array([0, 8]))
    good = cut_of(1, [[[1, 2]]], (0, 0, 0))
    for broken, says in (
        ({"labels": "%"}, "damaged"),
        ({"labels": good.labels[:-8]}, "damaged"),
        ({"shape": (1, 1, 3)}, "damaged"),
        ({"shape": (1 << 20, 1 << 20, 2)}, "a box of"),
        ({"pieces": good.pieces[:1]}, "no ids"),
    ):
        cut = Cut(**{**vars(good), **broken})
        with pytest.raises(FormatError, match=says):
            mapping.apply(Split(groups=((cut.pieces[0],),), kept=1, cuts=(cut,), **WHO))
    assert mapping.segment_of(1) == 1 and mapping.edits == []


# --- any sequence -------------------------------------------------------------------------------------------


@st.composite
def wishes(draw):
    """Edits drawn without looking whether they make sense."""
    fragment = st.integers(1, 6)
    kind = draw(st.sampled_from(["merge", "split", "split", "delete", "undo"]))
    if kind == "merge":
        return Merge(a=draw(fragment), b=draw(fragment), **WHO)
    if kind == "delete":
        return Delete(fragment=draw(fragment), **WHO)
    if kind == "split":
        groups = draw(st.lists(st.lists(fragment, min_size=1, max_size=3), min_size=1, max_size=2))
        return Split(groups=tuple(map(tuple, groups)), kept=draw(fragment), **WHO)
    return None


def slowly(edits):
    """The partition by the definition alone: sets of fragments, None = background."""
    sets = [{1, 2, 3}, {4, 5}]
    hidden = [{6}]
    for edit in edits:
        if isinstance(edit, Merge):
            pair = [next(s for s in sets + hidden if f in s) for f in (edit.a, edit.b)]
            sets = [s for s in sets if s not in pair] + [pair[0] | pair[1]]
            hidden = [s for s in hidden if s not in pair]
        elif isinstance(edit, Delete):
            gone = next(s for s in sets if edit.fragment in s)
            sets.remove(gone)
            hidden.append(gone)
        else:
            whole = next(s for s in sets if edit.kept in s)
            sets.remove(whole)
            groups = [set(group) for group in edit.groups]
            sets += [whole.difference(*groups), *groups]
    return {frozenset(s) for s in sets}


@given(st.lists(wishes(), max_size=25))
def test_any_sequence_is_what_the_definition_says_and_undo_leaves_no_trace(sequence):
    mapping, states = fresh(), []
    for wish in sequence:
        before = snapshot(mapping)
        if wish is None:
            if mapping.edits:
                mapping.undo()
                assert snapshot(mapping) == states.pop()
            continue
        try:
            mapping.apply(wish)
            states.append(before)
        except InputError:
            assert snapshot(mapping) == before
    again = fresh()
    for edit in mapping.edits:
        again.apply(edit)
    assert snapshot(again) == snapshot(mapping)
    segments = np.array(table(mapping))
    found = {frozenset(np.flatnonzero(segments == s).tolist()) for s in np.unique(segments[segments > 0])}
    assert found == slowly(mapping.edits)
    for segment in np.unique(segments[segments > 0]).tolist():
        members = np.flatnonzero(segments == segment)
        assert mapping.fragments_of(segment).tolist() == members.tolist()
        assert mapping.voxels_of(segment) == VOXELS[members].sum()
        assert set(LUT[members].tolist()) - {0} <= set(mapping.found_segments(segment).tolist())


def snapshot(mapping):
    tables = {k: v.array.tolist() for k, v in vars(mapping).items() if hasattr(v, "array")}
    others = ("_nodes", "_deleted", "_ids", "_index", "_origin")
    return tables | {name: copy.deepcopy(getattr(mapping, name)) for name in others}
