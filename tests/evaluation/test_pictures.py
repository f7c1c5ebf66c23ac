"""Pictures: colours that stay, errors told apart, figures that can be saved without a window."""

import io
import sys

import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.evaluation.colours import label_colours
from connectomics.evaluation.contingency import count_contingency
from connectomics.evaluation.error_map import MERGE, MISSING, RIGHT, SPLIT, error_map
from connectomics.evaluation.pictures import ERROR_COLOURS, draw_axons_3d, draw_slice, error_overlay
from connectomics.evaluation.surfaces import longest_objects, normals, surface


@pytest.mark.parametrize("kind", ["uint8", "int32", "uint64"])
def test_a_label_has_one_colour_everywhere(kind):
    labels = np.arange(60).astype(kind)
    colours = label_colours(labels)
    assert colours.shape == (60, 3)
    assert not colours[0].any()
    assert len(np.unique(colours, axis=0)) == 60
    np.testing.assert_array_equal(label_colours(labels[[7, 3]]), colours[[7, 3]])
    np.testing.assert_array_equal(label_colours(np.array([2**60, 7], np.uint64))[1], colours[7])


def test_errors_of_a_drawn_line():
    #  truth         1 1 1 1 1 2 2 3 3 3 0
    #  segmentation  5 5 5 6 0 8 8 8 8 8 9     6 splits 1; 8 belongs to 3, so 2 is merged into it
    truth = np.array([1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 0])
    segmentation = np.array([5, 5, 5, 6, 0, 8, 8, 8, 8, 8, 9], np.uint64)
    expected = [RIGHT] * 3 + [SPLIT, MISSING] + [MERGE] * 2 + [RIGHT] * 4
    np.testing.assert_array_equal(error_map(segmentation, truth), expected)
    table = count_contingency(segmentation, truth)
    np.testing.assert_array_equal(error_map(segmentation[3:], truth[3:], table), expected[3:])
    assert error_map(segmentation[3:4], truth[3:4])[0] == RIGHT, "test invalid"


def test_errors_of_an_empty_segmentation_are_missing():
    assert (error_map(np.zeros(4, int), np.ones(4, int)) == MISSING).all()


def test_overlay_keeps_grey_where_nothing_is_wrong():
    raw = np.tile(np.arange(4, dtype=np.uint8) * 60, (4, 1))
    errors = np.zeros((4, 4), np.uint8)
    errors[0, 0] = SPLIT
    picture = error_overlay(raw, errors)
    assert (picture[1:, :, 0] == picture[1:, :, 2]).all()
    assert picture[0, 0].tolist() != picture[1, 0].tolist()
    assert len(set(ERROR_COLOURS.values())) == 3


def saved(figure):
    stream = io.BytesIO()
    figure.savefig(stream, dpi=40)
    return stream.getvalue()


def two_bars():
    labels = np.zeros((16, 20, 40), np.uint64)
    labels[3:7, 4:9, :] = 7
    labels[10:13, 12:16, 5:20] = 2**60
    return labels


def test_figures_are_saved_without_pyplot():
    labels = two_bars()
    raw = np.random.default_rng(0).integers(0, 255, labels.shape[1:]).astype(np.uint8)
    before = "matplotlib.pyplot" in sys.modules
    assert saved(draw_slice(raw, labels[5], labels[11], title="a slice")).startswith(b"\x89PNG")
    full = saved(draw_axons_3d(labels, (20, 10, 10)))
    empty = saved(draw_axons_3d(np.zeros_like(labels), (20, 10, 10)))
    assert full.startswith(b"\x89PNG")
    assert len(full) > len(empty)
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_longest_objects_by_their_box_in_nm():
    labels = two_bars()
    assert [name for name, _ in longest_objects(labels, (1, 1, 1), 5)] == [7, 2**60]
    assert [name for name, _ in longest_objects(labels, (1, 1, 1), 1)] == [7]
    tall = np.zeros((10, 10, 30), np.uint8)
    tall[:, 0, 0], tall[0, 5, 5:] = 1, 2
    assert [name for name, _ in longest_objects(tall, (1, 1, 1), 2)] == [2, 1]
    assert [name for name, _ in longest_objects(tall, (10, 1, 1), 2)] == [1, 2]


def test_surfaces_lie_around_the_object_and_face_outwards():
    ball = np.linalg.norm(np.mgrid[:21, :21, :21] - 10, axis=0) < 7
    triangles = surface(ball, (2, 1, 1))
    centre = np.array([10.5 * 2, 10.5, 10.5])
    distance = np.linalg.norm((triangles.mean(axis=1) - centre) / (2, 1, 1), axis=1)
    assert 6 < distance.min() <= distance.max() < 8
    outwards = np.sum(normals(triangles) * (triangles.mean(axis=1) - centre), axis=1)
    assert (outwards > 0).mean() > 0.99
    assert len(surface(np.zeros((3, 3, 3), bool), (1, 1, 1))) == 0


def test_only_volumes_are_drawn_in_3d():
    with pytest.raises(InputError, match="expected"):
        draw_axons_3d(np.zeros((4, 4), int), (1, 1, 1))
