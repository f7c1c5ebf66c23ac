"""Cytoplasm keeps apart what affinities would join: what grey values of fragments cost an edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from connectomics.errors import InputError
from connectomics.segmentation.edge_rows import ROW, EdgeRows
from connectomics.segmentation.grey import LIMIT, STEPS, SURE, block_grey, penalties
from connectomics.segmentation.histograms import Histograms
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import segment_array

NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
SHAPE = (12, 12, 48)


def three_cells(across=200):
    """Affinities of three cells in a row, 1 | 2 | 3, with `across` where they meet; their labels."""
    labels = np.ones(SHAPE, np.int64)
    labels[..., 16:], labels[..., 32:] = 2, 3
    affinities = np.full((3, *SHAPE), 250, np.uint8)
    for first in (16, 32):
        affinities[:, :, :, first - 1 : first + 1] = 60  # a border, for the fragments
        affinities[2, :, :, first] = across
    return affinities, labels


def segments(penalty, grey, linkage="mean", **more):
    affinities, labels = three_cells()
    image = np.array([0, *grey], np.float32)[labels]
    chosen = SegmentationSettings(
        grey_penalty=penalty, linkage=linkage, max_distance=4, threshold=0.5, **more
    )
    *_, found = segment_array(affinities, NEAREST, chosen, image)
    return [int(found[6, 6, x]) for x in (8, 24, 40)]


@pytest.mark.parametrize("linkage", ["mean", "median", "percentile90", "percentile95"])
def test_a_dark_cell_stays_apart_from_its_neighbours(linkage):
    assert segments(0.0, (0, -2, 0), linkage) == [1, 1, 1]
    assert segments(0.3, (0, -2, 0), linkage) == [1, 2, 3]
    assert segments(0.3, (0.1, 0, -0.1), linkage) == [1, 1, 1], "alike: nothing is lost"


def test_only_the_difference_counts_and_only_inside():
    assert segments(0.3, (-3, -3, -1)) == [1, 1, 2]
    affinities, _ = three_cells()
    image = np.zeros(SHAPE, np.float32)
    image[1:, 1:][affinities[:, 1:, 1:].mean(axis=0) < 128] = -8  # dark borders: nothing is inside there
    chosen = SegmentationSettings(grey_penalty=4, max_distance=4, threshold=0.5)
    *_, found = segment_array(affinities, NEAREST, chosen, image)
    assert len(np.unique(found)) == 1


def test_the_mean_of_a_few_voxels_is_no_more_than_a_hint():
    grey = np.array([[0, 0], [10_000, 0], [10_000, 10_000 * STEPS], [SURE, SURE * STEPS], [0, 0]])
    lost = penalties(np.array([1, 1, 1, 2]), np.array([2, 3, 4, 3]), grey, 0.5)
    assert lost.tolist() == [126, 64, 0, 0]


def test_a_penalty_without_an_image_is_refused():
    with pytest.raises(InputError, match="needs the image"):
        segment_array(three_cells()[0], NEAREST, SegmentationSettings(grey_penalty=0.1, max_distance=4))


@pytest.mark.parametrize("cut", [1, 7, 16, 31])
def test_what_blocks_know_adds_up_to_what_the_whole_knows(cut):
    affinities, labels = three_cells()
    image = np.random.default_rng(0).normal(0, 4, SHAPE).astype(np.float32)
    chosen = SegmentationSettings(max_distance=4)

    def of(low, high):
        part = (slice(None), slice(None), slice(low, high))
        own = affinities[(slice(None), *part)]
        return block_grey(labels[part].astype(np.uint32), 3, image[part], own, (0, 0, low), chosen)

    whole = of(0, SHAPE[2])
    np.testing.assert_array_equal(of(0, cut) + of(cut, SHAPE[2]), whole)
    assert whole[:, 0].min() > 1000
    assert (np.abs(whole[:, 1]) <= whole[:, 0] * STEPS * LIMIT).all()


@settings(max_examples=50, deadline=None)
@given(
    counts=arrays(np.uint32, (3, 256), elements=st.integers(0, 3), fill=st.just(0)),
    by=arrays(np.int64, 3, elements=st.integers(0, 255)),
    threshold=st.integers(0, 254),
)
def test_weakened_affinities_are_those_lowered_and_lumping_before_hides_nothing(counts, by, threshold):
    counts[:, 9] += 1
    histogram = Histograms.from_dense(counts)
    number = counts.sum(axis=1).astype(np.int64)
    values = [np.repeat(np.arange(256), row) for row in counts]
    lowered = [np.maximum(0, own - less) for own, less in zip(values, by, strict=True)]
    weak, lumped = histogram.weakened(by), histogram.lumped(threshold).weakened(by, threshold)
    for percent in (50, 90, 95):
        expected = [np.sort(own)[(len(own) * percent + 99) // 100 - 1] for own in lowered]
        np.testing.assert_array_equal(weak.percentile(number, percent), expected)
        found = lumped.percentile(number, percent)
        np.testing.assert_array_equal(found, np.maximum(expected, threshold))
    rows = np.zeros(3, ROW)
    rows["count"], rows["total"] = number, [own.sum() for own in values]
    rows["squares"] = [(own**2).sum() for own in values]
    less = EdgeRows(rows, histogram).weakened(by).rows
    np.testing.assert_array_equal(less["total"], np.maximum(0, rows["total"] - by * number))
    assert EdgeRows(rows, histogram).weakened(0 * by).rows.tolist() == rows.tolist()
