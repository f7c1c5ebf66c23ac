"""A whole review without a window: keys and clicks change the session, and the view is told."""

import pytest

from connectomics.proofreading.session import ReviewSession
from napari_connectomics.review_controller import ReviewController
from napari_connectomics.review_words import length
from tests.plugins.conftest import place_of


class View:
    """Remembers what it was asked to draw."""

    def __init__(self):
        self.frames, self.redrawn, self.seeds, self.status, self.said = [], 0, [], None, []
        self.painting_ended = 0

    def frame(self, focus):
        self.frames.append(focus)

    def repaint_focus(self, focus):
        self.frames[-1] = focus

    def redraw(self):
        self.redrawn += 1

    def show_seeds(self, seeds):
        self.seeds = list(seeds)

    def end_painting(self):
        self.painting_ended += 1

    def show_status(self, status):
        self.status = status

    def tell(self, text, error=False):
        self.said.append((text, error))


@pytest.fixture
def view():
    return View()


@pytest.fixture
def review(reviewed, view):
    with ReviewSession.open(reviewed, "ann") as session:
        controller = ReviewController(session, view)
        controller.begin()
        yield controller


def test_the_first_place_is_shown_and_asked_about(review, view):
    assert len(view.frames) == 1
    assert view.status.question == "Are the two halves two neurons?"
    assert "wrong with probability 0.40" in view.status.facts and "0 decided" in view.status.progress
    assert set(view.frames[0].labels.ravel().tolist()) == {0, 1, 2, 3}
    assert not view.status.can_undo and view.status.mode == "look"


def test_accept_skip_next_and_previous(review, view):
    places = [review.session.current.fragments]
    for step in (review.accept, review.skip, review.next):
        step()
        places.append(review.session.current.fragments)
    assert len(set(places)) == 4 and len(view.frames) == 4
    assert "2 decided (1 right, 0 edited, 1 skipped)" in view.status.progress
    review.previous()
    assert review.session.current.fragments == places[2]


def test_mending_goes_on_and_undo_takes_it_back(review, view):
    first = review.session.current
    review.apply()
    assert view.said[-1] == ("Split", False) and view.redrawn == 1 and view.status.can_undo
    assert review.session.current.fragments != first.fragments
    assert review.session.mapping.segment_of(6) != review.session.mapping.segment_of(10)
    review.undo()
    assert view.said[-1] == ("Split: undone", False) and view.redrawn == 2
    assert review.session.mapping.segment_of(6) == review.session.mapping.segment_of(10)
    review.redo()
    assert review.session.mapping.segment_of(6) != review.session.mapping.segment_of(10)
    review.undo()
    review.undo()
    assert view.said[-1] == ("There is nothing to undo.", False)


def test_two_clicks_merge(review, view, drawing):
    review.set_mode("merge")
    review.click(place_of(drawing, 0, 4))
    assert len(view.seeds) == 1 and "now click" in view.said[-1][0] and view.redrawn == 0
    review.click(place_of(drawing, 0, 60))
    assert view.said[-1] == ("Merged", False) and view.seeds == []
    assert review.session.mapping.segment_of(1) == review.session.mapping.segment_of(4)


def test_a_click_beside_everything_is_said(review, view):
    for mode in ("merge", "delete"):
        review.set_mode(mode)
        review.click((0.0, 0.0, 0.0))
        assert "no segment" in view.said[-1][0]
    assert view.redrawn == 0


def test_a_merge_of_one_segment_with_itself_changes_nothing(review, view, drawing):
    review.set_mode("merge")
    review.click(place_of(drawing, 0, 4))
    review.click(place_of(drawing, 0, 20))
    text, error = view.said[-1]
    assert error and text and view.redrawn == 0 and not view.status.can_undo


def test_points_on_two_sides_split(review, view, drawing):
    review.set_mode("split")
    review.split()
    assert view.said[-1][1], "no points, no split"
    review.click(place_of(drawing, 1, 4))
    review.click(place_of(drawing, 2, 60), second=True)
    assert [seed.group for seed in view.seeds] == [1, 2]
    review.split()
    assert view.said[-1] == ("Split", False) and view.seeds == []
    assert review.session.mapping.segment_of(5) != review.session.mapping.segment_of(12)


def test_painted_seeds_split(review, view, drawing):
    painted = review.session.output.levels[0].read() * 0
    painted[4, 10:13, 3:6], painted[4, 18:21, 50:60] = 1, 2
    assert review.split_painted(painted, drawing.VOXEL_SIZE, drawing.OFFSET)
    assert review.session.mapping.segment_of(5) != review.session.mapping.segment_of(12)
    assert not review.split_painted(painted * 0, drawing.VOXEL_SIZE, drawing.OFFSET)
    assert "painted" in view.said[-1][0]


def test_a_click_deletes(review, view, drawing):
    review.set_mode("delete")
    review.click(place_of(drawing, 0, 60))
    assert review.session.mapping.segment_of(4) == 0 and view.said[-1] == ("Deleted", False)


def test_changing_the_mode_drops_what_was_begun(review, view, drawing):
    review.set_mode("split")
    review.click(place_of(drawing, 1, 4))
    review.set_mode("look")
    review.click(place_of(drawing, 1, 4))
    assert view.seeds == [] and review.seeds == [] and view.status.mode == "look"


def test_another_ranking_shows_its_first(review, view):
    review.rank_by("largest")
    assert len(view.frames) == 2
    review.rank_by("errors")
    assert view.said[-1][1], "there is no table of errors"


def test_the_end_of_the_queue(review, view):
    for _ in range(100):
        if review.session.current is None:
            break
        review.accept()
    assert view.status.question == "Nothing is left to decide."
    shown = len(view.frames)
    review.accept()
    assert len(view.frames) == shown


def test_lengths_in_words():
    assert length(31.2) == "31 nm" and length(2340) == "2.3 µm"
