"""The two sides of a candidate, cut out of a box around it; seeds from paint."""

import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.io.volume import Volume
from connectomics.proofreading.focus import (
    FIRST,
    REST,
    SECOND,
    SEEDS_PER_GROUP,
    box_around,
    focus_on,
    seeds_from_paint,
)
from connectomics.proofreading.session import ReviewSession


@pytest.fixture
def session(drawn):
    with ReviewSession.open(drawn.path, "ann") as opened:
        yield opened


def focus(session, **how):
    return focus_on(session.output.levels[0], session.mapping, session.current, **how)


def test_of_a_split_the_halves_and_the_rest(session, drawn, drawing):
    shown = focus(session)
    assert session.current.kind == "split" and session.current.fragments == (6, 10)
    assert (shown.labels[drawn.fragments == 6] == FIRST).all()
    assert (shown.labels[drawn.fragments == 10] == SECOND).all()
    rest = np.isin(drawn.fragments, [5, 7, 8, 9, 11, 12])
    assert (shown.labels[rest] == REST).all() and not shown.labels[drawn.lut[drawn.fragments] != 3].any()
    assert shown.offset == drawing.OFFSET and shown.voxel_size == drawing.VOXEL_SIZE
    assert shown.size == tuple(n * v for n, v in zip((8, 24, 64), drawing.VOXEL_SIZE, strict=True))


def test_of_a_merge_the_two_segments(session, drawn):
    session.next()
    shown = focus(session)
    assert session.current.kind == "merge"
    for value, segment in ((FIRST, 1), (SECOND, 2)):
        assert ((shown.labels == value) == (drawn.lut[drawn.fragments] == segment)).all()
    session.merge(2, 3)
    assert (focus(session).labels == REST).any(), "the two are one now"


def test_the_box_lies_inside_and_on_the_grid(session):
    volume = Volume(np.zeros((10, 20, 30), np.uint8), (20.0, 10.0, 10.0), (1000.0, 0.0, -500.0), "volume")
    assert box_around(volume, (1100.0, 5.0, -205.0), 8) == (slice(1, 9), slice(0, 8), slice(22, 30))
    shown = focus(session, edge=6)
    assert shown.labels.shape == (6, 6, 6)
    low, high = np.array(shown.offset), np.array(shown.offset) + shown.size
    assert (low <= shown.place).all() and (shown.place <= high).all()


def test_seeds_from_paint_are_centres_of_voxels():
    painted = np.zeros((4, 6, 200), np.uint8)
    painted[1, 2, 3], painted[2] = 1, 2
    seeds = seeds_from_paint(painted, (20.0, 10.0, 10.0), (1000.0, 0.0, -500.0))
    assert seeds[0].place == (1030.0, 25.0, -465.0) and seeds[0].group == 1
    assert sum(seed.group == 2 for seed in seeds) == SEEDS_PER_GROUP
    with pytest.raises(InputError, match="nothing is painted"):
        seeds_from_paint(painted * 0, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
