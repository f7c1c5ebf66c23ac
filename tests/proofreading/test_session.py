"""A whole review without a window: open, look, decide, edit, undo, close, open again, score."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from connectomics.errors import BusyError, ConnectomicsError, FormatError, InputError, NoSpaceError
from connectomics.io.ome_zarr import open_array
from connectomics.io.place import RemotePath, as_place, remove
from connectomics.io.tables import read_table, write_table
from connectomics.proofreading.edits import Merge, Split
from connectomics.proofreading.log import EditLog, VolumeChangedError
from connectomics.proofreading.output import edits_folder, open_output
from connectomics.proofreading.session import ReviewSession
from connectomics.proofreading.split import Seed


def lut_of(session):
    return session.lut_of(np.arange(13)).tolist()


def test_the_likeliest_and_costliest_errors_come_first(drawn):
    with ReviewSession.open(drawn.path, "ann") as session:
        first = session.current
        assert (first.kind, first.fragments, first.segments) == ("split", (6, 10), (3, 3))
        assert first.place == pytest.approx((1800.0, 1600.0, 1900.0))
        assert sorted(first.voxels) == [4096, 4096] and first.p_wrong == pytest.approx(0.4)
        second = session.next()
        assert (second.kind, second.fragments, second.segments) == ("merge", (2, 3), (1, 2))
        assert second.place == pytest.approx((1800.0, 400.0, 2700.0)) and second.voxels == (2048, 2048)
        assert first.gain_nm > second.gain_nm > 0
        assert session.counters.decided == 0
        # contacts of the false merge that are not the surest part nothing: no candidates
        rest = [session.next() for _ in range(30)]
        fragments = [candidate.fragments for candidate in rest if candidate is not None]
        assert not {(5, 9), (7, 11), (8, 12)} & set(fragments)


def test_a_review_mends_everything_and_goes_on_where_it_was(drawn, drawing):
    with ReviewSession.open(drawn.path, "ann") as session:
        before = session.score(drawing.traced())["before"]["nerl"]
        split = session.apply()
        assert isinstance(split, Split) and session.current.verdict == "edit"
        merge = session.next() and session.apply()
        assert isinstance(merge, Merge)
        after = session.score(drawing.traced())
        assert before < 0.5 and after["after"]["nerl"] == 1.0 and after["errors"] == []
        assert session.take_changes() == {1, 2, 3, 4} and session.take_changes() == frozenset()
        left = session.counters.remaining
        assert left > 0
        session.next()
        accepted, skipped = session.current.fragments, session.accept().fragments
        session.skip()
        lut, shown = lut_of(session), session.current
        counters = session.counters
        assert (counters.edited, counters.accepted, counters.skipped) == (2, 1, 1)
        assert counters.remaining <= left - 2
    with ReviewSession.open(drawn.path, "ann") as again:
        assert lut_of(again) == lut and again.current == shown
        assert again.counters == counters and again.counters.seconds_per_decision >= 0
        seen = {again.current.fragments}
        while again.next() is not None:
            seen.add(again.current.fragments)
        assert not {accepted, skipped, (6, 10), (2, 3)} & seen
    with ReviewSession.open(drawn.path, "bob") as other:
        assert lut_of(other) == drawn.lut.tolist(), "each author has a log"


def test_what_was_undone_is_open_again_and_redo_closes_it(drawn):
    with ReviewSession.open(drawn.path, "ann") as session:
        assert not session.can_undo and session.undo() is None and session.redo() is None
        session.apply()
        done = lut_of(session)
        session.next()
        undone = session.undo()
        assert lut_of(session) == drawn.lut.tolist() and session.can_redo and not session.can_undo
        assert session.previous().verdict is None and session.counters.edited == 0
        assert session.redo() == undone and lut_of(session) == done and session.counters.edited == 1
        session.undo()
        assert session.merge(2, 3) and not session.can_redo
    with ReviewSession.open(drawn.path, "ann") as again:
        assert again.current.fragments == (6, 10) and again.counters.merges == 1
        again.undo()
    with ReviewSession.open(drawn.path, "ann") as again:
        assert again.can_redo


def test_what_was_undone_comes_again_in_the_same_sitting(drawn):
    with ReviewSession.open(drawn.path, "ann") as session:
        first = session.current.fragments
        session.apply()
        passed = session.next().fragments  # gone by without a decision: that does not come again
        session.next()
        session.undo()
        assert session.counters.decided == 0
        seen = []
        while session.next() is not None:
            seen.append(session.current.fragments)
        assert seen.count(first) == 1 and passed not in seen


def test_two_segments_that_are_two_at_one_contact_are_two_at_the_next(drawn):
    with ReviewSession.open(drawn.path, "ann", order="uncertainty") as session:
        session.merge(1, 3)
        session.undo()
        while session.current is not None and session.current.fragments != (2, 3):
            session.next()
        session.accept()
        session.rank_by("uncertainty")
        seen = []
        while session.current is not None:
            seen.append(session.current.fragments)
            session.next()
        assert (2, 3) not in seen


def test_levels_show_the_edits_at_once(drawn):
    with ReviewSession.open(drawn.path, "ann") as session:
        fine, coarse = session.levels
        assert fine.shape == (8, 24, 64) and fine.dtype == np.uint64 and fine.ndim == 3 and fine.chunks
        np.testing.assert_array_equal(fine[:], drawn.lut[drawn.fragments])
        session.apply()
        session.merge(2, 3)
        expected = session.lut_of(drawn.fragments)
        assert len(np.unique(expected)) == 3
        np.testing.assert_array_equal(fine[...], expected)
        np.testing.assert_array_equal(
            coarse[:], session.lut_of(open_array(drawn.path, "labels/fragments", 1).read())
        )
        for key in (
            3,
            (slice(None), 5),
            (..., -1),
            (2, slice(3, 20, 4), slice(60, 10, -7)),
            (1, 2, 3),
            (slice(2, 2),),
        ):
            np.testing.assert_array_equal(fine[key], expected[key])
        for wrong in (8, (0, 0, 0, 0), (..., ...)):
            with pytest.raises(IndexError):
                fine[wrong]
        roi = fine.volume.roi
        assert roi.offset == (1000.0, 0.0, -500.0)


def test_points_are_places_in_the_world(drawn, drawing):
    with ReviewSession.open(drawn.path, "ann") as session:
        assert session.fragment_at(drawing.centre(7)) == 7 and session.segment_at(drawing.centre(7)) == 3
        assert session.fragment_at((0.0, 0.0, 0.0)) == 0 and session.segment_at((2600.0, 0.0, 0.0)) == 0
        session.delete(7)
        assert session.segment_at(drawing.centre(7)) == 0 and session.fragment_at(drawing.centre(7)) == 7


def test_a_split_by_points_follows_the_affinities(drawn, drawing):
    with ReviewSession.open(drawn.path, "ann") as session:
        seeds = [Seed(drawing.centre(8), 1), Seed(drawing.centre(9), 2)]
        edit = session.split(seeds)
        assert lut_of(session) == [0, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4] and len(edit.seeds) == 2
        assert session.mapping.cuts == []


@pytest.mark.parametrize(
    ("seeds", "says"),
    [
        ([(5, 1), (6, 1)], "two groups"),
        ([], "two groups"),
        ([(5, 1), (6, 1), (1, 2)], r"group 2 has no seed in segment 3; its seeds lie in \[1\]"),
    ],
)
def test_seeds_that_split_nothing_are_refused(drawn, drawing, seeds, says):
    with ReviewSession.open(drawn.path, "ann") as session:
        with pytest.raises(InputError, match=says):
            session.split([Seed(drawing.centre(fragment), group) for fragment, group in seeds])
        with pytest.raises(InputError, match="outside the volume"):
            session.split([Seed((0.0, 0.0, 0.0), 1), Seed(drawing.centre(5), 2)])
        assert session.revision == 0 and not session.can_undo


def test_what_goes_on_from_a_piece_goes_with_it(tmp_path, drawing):
    """Nothing is left of the fragment that is cut, so nothing hangs on it."""
    tube = drawing.tubes()
    whole = np.zeros_like(tube.fragments)
    whole[:, 4:16, :32] = 1  # two tubes as one; the narrower, upper one goes on as fragment 2
    whole[:, 4:8, 32:] = 2
    path = tmp_path / "out.zarr"
    drawing.write_output(path, whole, np.array([0, 1, 1]), tube.affinities, keep_affinities=True)
    with ReviewSession.open(path, "ann") as session:
        upper, lower, beyond = (
            tuple((np.array(s) + 0.5) * drawing.VOXEL_SIZE + drawing.OFFSET)
            for s in [(4, 5, 16), (4, 12, 16), (4, 5, 48)]
        )
        session.split([Seed(upper, 1), Seed(lower, 2)])
        assert session.segment_at(beyond) == session.segment_at(upper) != session.segment_at(lower)


@pytest.mark.parametrize("affinities", [True, False])
def test_a_fragment_with_two_seeds_is_cut(tmp_path, drawing, affinities):
    tube = drawing.tubes()
    whole = np.where(
        tube.fragments > 4, np.where(tube.fragments > 8, tube.fragments - 4, tube.fragments), tube.fragments
    )
    lut = np.array([0, 1, 1, 2, 2, 3, 3, 3, 3])  # tubes 2 and 3 are one from the fragments on
    if not affinities:  # their shape must tell: a wall with a hole
        whole[:, 15:17] = np.where((np.arange(64) > 22) & (np.arange(64) < 26), whole[:, 15:17], 0)
    path = tmp_path / "out.zarr"
    drawing.write_output(path, whole, lut, tube.affinities, keep_affinities=affinities)
    with ReviewSession.open(path, "ann") as session:
        seeds = [
            (4, 12, 24),
            (4, 20, 24),
            (4, 12, 5),
            (4, 20, 5),
            (4, 12, 40),
            (4, 20, 40),
            (4, 12, 60),
            (4, 20, 60),
        ]
        points = [tuple((np.array(s) + 0.5) * drawing.VOXEL_SIZE + drawing.OFFSET) for s in seeds]
        edit = session.split([Seed(point, 1 + n % 2) for n, point in enumerate(points)])
        assert len(edit.cuts) == 4
        shown = session.levels[0][:]
        upper, lower = shown[:, 8:15], shown[:, 17:]
        assert len(np.unique(upper)) == len(np.unique(lower)) == 1 and upper[0, 0, 0] != lower[0, 0, 0]
        assert (shown[:, :8] == lut[whole][:, :8]).all()
        pieces = session.fragment_at(points[0]), session.fragment_at(points[1])
        assert min(pieces) >= 1 << 52
        session.merge(*pieces)  # and back, and apart again between pieces that are there
        assert len(np.unique(session.levels[0][:, 8:15])) == 1
        again = session.split([Seed(points[2], 1), Seed(points[7], 2)])
        assert again.cuts == () and session.segment_at(points[2]) != session.segment_at(points[7])
        kept = session.levels[0][:]
    with ReviewSession.open(path, "ann") as session:
        np.testing.assert_array_equal(session.levels[0][:], kept)
        while session.can_undo:
            session.undo()
        np.testing.assert_array_equal(session.levels[0][:], lut[whole])


def test_two_groups_on_one_voxel_are_refused(drawn, drawing):
    with ReviewSession.open(drawn.path, "ann") as session:
        point = drawing.centre(6)
        with pytest.raises(InputError, match="two groups have a seed on one voxel"):
            session.split([Seed(point, 1), Seed(point, 2)])


def test_every_order_gives_every_place_once(drawn, tmp_path):
    table = tmp_path / "errors.csv"
    head = "kind,cost_nm,z_nm,y_nm,x_nm,z_voxel,y_voxel,x_voxel,skeleton_1,skeleton_2,segment_1,segment_2\n"
    rows = [
        "split,10,1800,400,2700,4,4,32,1,1,1,2",
        "merge,99,1800,1600,1900,4,16,25,2,3,3,3",
        "split,5,1,1,1,1,1,1,1,1,0,2",
    ]
    table.write_text(head + "\n".join(rows) + "\n")
    found = {}
    with ReviewSession.open(drawn.path, "ann") as session:
        for order in ("run-length", "uncertainty", "largest", "random", "errors"):
            session.rank_by(order, errors=table)
            ahead = [candidate.fragments for candidate in session.candidates(100)]
            walked = [session.current.fragments]
            while session.next() is not None:
                walked.append(session.current.fragments)
            assert ahead == walked and len(set(walked)) == len(walked)
            found[order] = walked
        session.rank_by("random", seed=1)
        assert [c.fragments for c in session.candidates(100)] != found["random"]
    assert found["errors"] == [(6, 10), (2, 3)]
    assert (
        set(found["run-length"]) == set(found["uncertainty"]) == set(found["random"]) == set(found["largest"])
    )
    assert found["uncertainty"][:2] == [(2, 3), (6, 10)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "no table of errors .no kind"),
        ("kind,cost_nm,z_nm,y_nm,x_nm,segment_1,segment_2\nsplit,x,1,1,1,1,2\n", "no table of errors: could"),
        ("kind,cost_nm,z_nm,y_nm,x_nm,segment_1,segment_2\nsplit,1,1,1,1,1,9\n", "names segment 9.*another"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_does_not_fit_is_named(drawn, tmp_path, text, says):
    path = tmp_path / "errors.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=says):
        ReviewSession.open(drawn.path, "ann", order="errors", errors=path)
    with ReviewSession.open(drawn.path, "ann") as session:  # what failed to open holds nothing
        with pytest.raises(InputError, match="needs the table"):
            session.rank_by("errors")
        with pytest.raises(InputError, match="Did you mean 'random'"):
            session.rank_by("randon")


# --- what can go wrong --------------------------------------------------------------------------------------


def test_what_is_no_output_of_segment_is_said(drawn, tmp_path, drawing):
    with pytest.raises(InputError, match="is no output of `segment`"):
        ReviewSession.open(tmp_path, "ann")
    with pytest.raises(InputError, match="is no output of `segment`"):
        ReviewSession.open(drawn.path / "labels", "ann")
    remove(drawn.path / "region_graph" / "position")
    with pytest.raises(InputError, match="earlier version, which did not write region_graph/position"):
        ReviewSession.open(drawn.path, "ann")
    ledger = drawn.path / "ledger" / "segment"
    drawing.write_output(tmp_path / "b.zarr", drawn.fragments, drawn.lut, drawn.affinities)
    ledger = tmp_path / "b.zarr" / "ledger" / "segment"
    ledger.mkdir(parents=True)
    (ledger / "run.json").write_text("{}")
    with pytest.raises(InputError, match="not finished"):
        ReviewSession.open(tmp_path / "b.zarr", "ann")


def test_a_volume_that_changed_underneath_is_said_and_the_log_is_left_alone(drawn):
    log = drawn.path / "edits" / "ann.jsonl"
    with ReviewSession.open(drawn.path, "ann") as session:
        session.apply()
        kept = log.read_bytes()
        lut = read_table(drawn.path, "lut")
        write_table(drawn.path, "lut", lut)  # the same again: no harm
        session.merge(2, 3)
        kept = log.read_bytes()
        lut[12] = 4
        write_table(drawn.path, "lut", lut)
        before = lut_of(session)
        for change in (session.undo, session.accept, lambda: session.delete(1), lambda: session.merge(1, 5)):
            with pytest.raises(VolumeChangedError, match=r"was replaced while it was open.*tables"):
                change()
        assert lut_of(session) == before and log.read_bytes() == kept
    with pytest.raises(VolumeChangedError, match="made on other fragments"):
        ReviewSession.open(drawn.path, "ann")
    assert log.read_bytes() == kept
    with ReviewSession.open(drawn.path, "bob") as fresh:
        assert fresh.counters.decided == 0


def test_an_edit_that_cannot_be_saved_is_not_made(drawn, monkeypatch):
    def full(self, *lines):
        raise NoSpaceError("No space left")

    with ReviewSession.open(drawn.path, "ann") as session:
        session.merge(2, 3)
        session.undo()
        before, current = lut_of(session), session.current
        monkeypatch.setattr(EditLog, "append", full)
        for change in (session.apply, session.redo, session.accept, session.skip, lambda: session.delete(1)):
            with pytest.raises(NoSpaceError):
                change()
        assert lut_of(session) == before and session.current == current and session.revision == 2
        assert session.can_redo and not session.can_undo and session.counters.decided == 0
        monkeypatch.undo()
        session.redo()
        with pytest.raises(NoSpaceError):
            monkeypatch.setattr(EditLog, "append", full)
            session.undo()
        assert session.can_undo


def test_a_read_only_place_can_be_looked_at(drawn, monkeypatch):
    def closed(*arguments, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("connectomics.blockwise.lock.os.open", closed)
    with ReviewSession.open(drawn.path, "ann") as session:
        assert "Permission denied" in session.read_only and session.current is not None
        with pytest.raises(InputError, match="edits cannot be saved"):
            session.apply()
        assert not (drawn.path / "edits" / "ann.jsonl").exists()


def test_two_sessions_of_one_author_refuse_each_other(drawn):
    with ReviewSession.open(drawn.path, "ann"):
        with pytest.raises(BusyError, match="review under another name"):
            ReviewSession.open(drawn.path, "ann")
        with ReviewSession.open(drawn.path, "bob") as other:
            other.merge(2, 3)


def test_the_log_may_lie_elsewhere(drawn, tmp_path):
    with ReviewSession.open(drawn.path, "ann", log_folder=tmp_path / "mine") as session:
        session.merge(2, 3)
    assert (tmp_path / "mine" / "ann.jsonl").exists() and not (drawn.path / "edits").exists()


def test_a_log_that_was_tampered_with_is_refused(drawn):
    log = drawn.path / "edits" / "ann.jsonl"
    with ReviewSession.open(drawn.path, "ann") as session:
        session.merge(2, 3)
        session.undo()
    head, _, undo = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(head + undo)
    with pytest.raises(FormatError, match="not the last that could be"):
        ReviewSession.open(drawn.path, "ann")


# --- any sequence -------------------------------------------------------------------------------------------

ACTIONS = [
    "apply",
    "accept",
    "skip",
    "next",
    "previous",
    "undo",
    "redo",
    "merge",
    "split",
    "delete",
    "reopen",
]


@settings(
    max_examples=8, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 12), st.integers(1, 12)), max_size=12))
def test_whatever_is_done_is_there_again_after_opening(drawn, drawing, actions):
    remove(drawn.path / "edits")
    session = ReviewSession.open(drawn.path, "ann")
    try:
        for name, a, b in actions:
            try:
                if name in ("merge", "delete"):
                    session.merge(a, b) if name == "merge" else session.delete(a)
                elif name == "split":
                    session.split([Seed(drawing.centre(a), 1), Seed(drawing.centre(b), 2)])
                elif name == "reopen":
                    before = state(session)
                    session.close()
                    session = ReviewSession.open(drawn.path, "ann")
                    assert state(session) == before
                else:
                    getattr(session, name)()
            except ConnectomicsError as error:
                assert isinstance(error, InputError)
        before = state(session)
        session.close()
        session = ReviewSession.open(drawn.path, "ann")
        assert state(session) == before
    finally:
        session.close()


def state(session):
    counters = session.counters
    edits = (
        counters.merges,
        counters.splits,
        counters.deletes,
        counters.accepted,
        counters.skipped,
        counters.edited,
    )
    shown = session.levels[0][:]
    return lut_of(session), shown.tolist(), edits, session.can_undo, session.can_redo


def test_a_volume_in_a_bucket_needs_a_folder_for_the_log(drawn, tmp_path):
    output = open_output(drawn.path)
    remote = replace(output, path=RemotePath("s3://bucket/out.zarr"))
    with pytest.raises(InputError, match=r"s3://bucket/out\.zarr: edits are saved to a local disk"):
        edits_folder(remote)
    assert edits_folder(remote, tmp_path) == tmp_path and edits_folder(output) == drawn.path / "edits"


def test_a_review_of_a_volume_in_a_bucket(drawn, bucket, tmp_path):
    url = f"{bucket}/out.zarr"
    for path in (path for path in drawn.path.rglob("*") if path.is_file()):
        (as_place(url) / path.relative_to(drawn.path).as_posix()).write_bytes(path.read_bytes())
    log = tmp_path / "log"
    with (
        ReviewSession.open(drawn.path, "ann") as here,
        ReviewSession.open(url, "ann", log_folder=log) as there,
    ):
        for _ in range(2):
            assert type(there.apply()) is type(here.apply())
        np.testing.assert_array_equal(there.levels[0][:], here.levels[0][:])
        shown = there.levels[0][:]
    assert not (as_place(url) / "edits").exists(), "what was opened for reading is left alone"
    with ReviewSession.open(url, "ann", log_folder=log) as again:
        np.testing.assert_array_equal(again.levels[0][:], shown)
        assert again.can_undo


def test_an_edit_decides_a_candidate_only_if_it_answers_it(drawn, drawing):
    with ReviewSession.open(drawn.path, "ann") as session:
        assert session.current.fragments == (6, 10)
        session.split([Seed(drawing.centre(5), 1), Seed(drawing.centre(6), 2)])
        assert session.current.verdict is None and session.counters.edited == 0
        session.split([Seed(drawing.centre(6), 1), Seed(drawing.centre(10), 2)])
        assert session.current.verdict == "edit"
        session.next()
        while session.current.fragments != (2, 3):
            session.next()
        session.merge(2, 12)
        assert session.current.verdict is None
        session.delete(3)
        assert session.current.verdict == "edit"
        with pytest.raises(InputError, match="background now"):
            session.apply()
