"""The contingency table: exact for every integer type, in any order, in any cut."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectomics.errors import GeometryError, InputError
from connectomics.evaluation.contingency import Contingency, count_contingency, merge_contingencies

UNSIGNED = ("uint8", "uint16", "uint32", "uint64")


def as_dict(table: Contingency) -> dict[tuple[int, int], int]:
    pairs = zip(table.truth.tolist(), table.segment.tolist(), table.count.tolist(), strict=True)
    return {(truth, segment): count for truth, segment, count in pairs}


def slow(segmentation, truth, mask=None):
    table: dict[tuple[int, int], int] = {}
    mask = np.ones(truth.shape) if mask is None else mask
    for s, t, m in zip(segmentation.flat, truth.flat, mask.flat, strict=True):
        if t and m:
            table[int(t), int(s)] = table.get((int(t), int(s)), 0) + 1
    return table


def random_labels(seed, shape=(7, 9, 11), high=6):
    return np.random.default_rng(seed).integers(0, high, shape)


@pytest.mark.parametrize(("one", "other"), list(product((*UNSIGNED, "int16", "int64"), UNSIGNED)))
def test_every_integer_type(one, other):
    segmentation, truth = random_labels(0).astype(one), random_labels(1).astype(other)
    assert as_dict(count_contingency(segmentation, truth)) == slow(segmentation, truth)


def test_ids_that_float64_cannot_tell_apart():
    base = 2**63 + 2**54
    truth = np.array([base, base + 1, base + 1, 2**64 - 1], np.uint64)
    segmentation = np.array([2**53, 2**53 + 1, 2**53, 2**64 - 1], np.uint64)
    assert float(base) == float(base + 1), "test invalid"
    assert as_dict(count_contingency(segmentation, truth)) == slow(segmentation, truth)


@pytest.mark.parametrize("kind", ["bool", "uint8", "float32"])
def test_a_mask_counts_where_it_is_not_zero(kind):
    segmentation, truth = random_labels(2), random_labels(3)
    mask = (random_labels(4, high=3) * 0.5).astype(kind)
    counted = as_dict(count_contingency(segmentation, truth, mask))
    assert counted == slow(segmentation, truth, mask)
    assert counted != slow(segmentation, truth), "test invalid"


@pytest.mark.parametrize("order", ["C", "F", "mixed", "strided"])
def test_memory_order_changes_nothing(order):
    segmentation, truth = random_labels(5), random_labels(6)
    expected = slow(segmentation, truth)
    if order == "F":
        segmentation, truth = np.asfortranarray(segmentation), np.asfortranarray(truth)
    elif order == "mixed":
        truth = np.asfortranarray(truth)
    elif order == "strided":
        segmentation, truth = segmentation[::-1, :, ::2], truth[::-1, :, ::2]
        expected = slow(segmentation, truth)
    assert as_dict(count_contingency(segmentation, truth)) == expected


def test_many_pairs_make_the_table_grow():
    rng = np.random.default_rng(7)
    segmentation, truth = rng.integers(0, 300, (2, 40, 50, 60))
    table = count_contingency(segmentation, truth)
    assert table.count.size > 20_000
    assert as_dict(table) == slow(segmentation, truth)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=0, max_size=3), st.permutations(range(4)), st.integers(0, 99))
def test_blocks_in_any_order_equal_the_whole(cuts, order, seed):
    segmentation, truth = random_labels(seed), random_labels(seed + 100)
    bounds = [0, *sorted(cuts), 7]
    parts = [slice(a, b) for a, b in pairwise(bounds)]
    parts = [parts[i] for i in order if i < len(parts)]
    merged = merge_contingencies([count_contingency(segmentation[p], truth[p]) for p in parts])
    whole = count_contingency(segmentation, truth)
    for name in ("truth", "segment", "count"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))


def test_nothing_counted_is_an_empty_table():
    table = count_contingency(np.ones((2, 2, 2), int), np.zeros((2, 2, 2), int))
    assert table.voxels == 0
    assert merge_contingencies([]).voxels == 0
    assert (table + table).count.size == 0
    assert count_contingency(np.zeros((0, 2), int), np.zeros((0, 2), int)).voxels == 0


def test_input_is_untouched_and_may_be_read_only():
    segmentation, truth = random_labels(8), random_labels(9)
    segmentation.setflags(write=False)
    truth.setflags(write=False)
    assert count_contingency(segmentation, truth, truth > 2).voxels == (truth > 2).sum()


def test_bad_input_is_refused():
    labels = np.ones((2, 3), int)
    with pytest.raises(GeometryError, match="one shape"):
        count_contingency(labels, labels.T)
    with pytest.raises(GeometryError, match="one shape"):
        count_contingency(labels, labels, labels[0])
    with pytest.raises(InputError, match="integers, got float64"):
        count_contingency(labels, labels.astype(float))
    with pytest.raises(InputError, match="negative, got -1"):
        count_contingency(-labels, labels)


def test_a_mask_that_is_not_a_number_leaves_out():
    labels = np.array([1, 1, 2, 2])
    table = count_contingency(labels, labels, np.array([1.0, np.nan, 0.0, -np.inf]))
    assert table.count.tolist() == [1, 1]
