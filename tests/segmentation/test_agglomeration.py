"""Agglomeration against a direct, slow one; drawn graphs; prefixes of the merge tree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectomics.errors import InputError
from connectomics.segmentation.agglomeration import PERCENTS, agglomerate
from connectomics.segmentation.edges import BlockEdges
from connectomics.segmentation.histograms import Histograms
from connectomics.segmentation.region_graph import RegionGraph, merge_edges


def graph(*rows):
    """Rows of (u, v, affinities of the voxel pairs)."""
    rows = sorted(rows)
    histogram = np.zeros((len(rows), 256), np.uint32)
    for row, (_, _, values) in enumerate(rows):
        np.add.at(histogram[row], values, 1)
    return RegionGraph(
        np.array([row[:2] for row in rows], np.uint64).reshape(-1, 2),
        np.array([len(row[2]) for row in rows], np.int64),
        np.array([sum(row[2]) for row in rows], np.int64),
        np.array([sum(a * a for a in row[2]) for row in rows], np.int64),
        Histograms.from_dense(histogram),
    )


def segments(found):
    return found.tolist()


def test_a_chain_breaks_at_its_weak_link():
    #  1 ==240== 2 --30-- 3 ==200== 4
    chain = graph((1, 2, [240]), (2, 3, [30]), (3, 4, [200]))
    assert segments(agglomerate(chain, 4, "mean", 0.5).lut(0.5)) == [0, 1, 1, 2, 2]
    assert segments(agglomerate(chain, 4, "mean", 0.05).lut(0.05)) == [0, 1, 1, 1, 1]
    assert segments(agglomerate(chain, 4, "mean", 0.9).lut(0.9)) == [0, 1, 1, 2, 3]


def test_edges_that_become_one_are_averaged_by_size():
    #  1 =250= 2      after 1+2:  3 is tied by (200 + 3 * 60) / 4 = 95
    #   \200  /60x3
    #      3
    triangle = graph((1, 2, [250]), (1, 3, [200]), (2, 3, [60, 60, 60]))
    assert segments(agglomerate(triangle, 3, "mean", 0.5).lut(0.5)) == [0, 1, 1, 2]
    assert segments(agglomerate(triangle, 3, "mean", 0.35).lut(0.35)) == [0, 1, 1, 1]


def test_median_and_mean_differ_where_a_few_pairs_are_extreme():
    leak = graph((1, 2, [20, 20, 20, 255, 255]))
    assert segments(agglomerate(leak, 2, "mean", 0.4).lut(0.4)) == [0, 1, 1]
    assert segments(agglomerate(leak, 2, "median", 0.4).lut(0.4)) == [0, 1, 2]


def test_the_median_needs_histograms():
    bare = graph((1, 2, [20]))
    with pytest.raises(InputError, match="histogram"):
        agglomerate(RegionGraph(bare.edges, bare.count, bare.total, bare.squares), 2, "median", 0.5)


def test_no_edges_no_fragments():
    empty = graph()
    assert segments(agglomerate(empty, 3, "mean", 0.5).lut(0.5)) == [0, 1, 2, 3]
    assert segments(agglomerate(empty, 0, "mean", 0.5).lut(0.5)) == [0]


def strength_of(values, linkage):
    if linkage == "mean":
        return values.mean()
    return np.sort(values)[-(-len(values) * PERCENTS[linkage] // 100) - 1]


def directly(given, nodes, linkage, threshold):
    """Greedy merging by searching all pairs of segments at each step."""
    owner = list(range(nodes + 1))
    while True:
        between = {}
        for (u, v), row in zip(given.edges.astype(int), given.histogram.dense(), strict=True):
            a, b = sorted((owner[u], owner[v]))
            if a != b:
                between[a, b] = between.get((a, b), 0) + row
        best = None
        for pair, row in between.items():
            values = np.repeat(np.arange(256), row)
            strength = strength_of(values, linkage)
            if strength > 255 * threshold and (best is None or strength > best[0]):
                best = (strength, pair)
        if best is None:
            return owner
        owner = [best[1][0] if o == best[1][1] else o for o in owner]


@st.composite
def graphs(draw):
    """Random graphs whose affinities are distinct, so that no tie decides."""
    nodes = draw(st.integers(2, 9))
    pairs = [(u, v) for u in range(1, nodes + 1) for v in range(u + 1, nodes + 1)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    return nodes, graph(*[(*pair, random.integers(0, 256, random.integers(1, 6))) for pair in chosen])


@pytest.mark.parametrize("linkage", ["mean", "median", "percentile90", "percentile95"])
@given(case=graphs(), threshold=st.sampled_from([0.2, 0.4, 0.6]))
@settings(max_examples=60, deadline=None)
def test_equals_the_direct_one(linkage, case, threshold):
    nodes, given_graph = case
    if linkage != "mean":  # ties are common among medians; only compare when there are none
        values = [np.repeat(np.arange(256), row) for row in given_graph.histogram.dense()]
        strengths = [strength_of(v, linkage) for v in values]
        if len(set(strengths)) < len(strengths):
            return
    found = agglomerate(given_graph, nodes, linkage, threshold).lut(threshold)
    expected = directly(given_graph, nodes, linkage, threshold)
    partition = {(a, b) for a in range(1, nodes + 1) for b in range(1, nodes + 1) if found[a] == found[b]}
    wanted = {(a, b) for a in range(1, nodes + 1) for b in range(1, nodes + 1) if expected[a] == expected[b]}
    assert partition == wanted


@given(case=graphs(), threshold=st.floats(0.1, 0.9))
@settings(max_examples=60, deadline=None)
def test_a_stricter_threshold_is_a_prefix_of_the_tree(case, threshold):
    nodes, given_graph = case
    tree = agglomerate(given_graph, nodes, "mean", 0.0)
    np.testing.assert_array_equal(
        tree.lut(threshold), agglomerate(given_graph, nodes, "mean", threshold).lut(threshold)
    )


def test_blocks_add_up_whatever_their_order():
    def part(*rows):
        u, v, count, total, contacts = np.array(rows, np.int64).T
        return BlockEdges(u, v, count, total, total**2, contacts)

    parts = [part((0, 1, 2, 300, 2), (1, 2, 1, 9, 0)), part((1, 3, 3, 30, 1), (0, 3, 1, 7, 1))]
    table = np.array([1, 2, 3, 2], np.uint64)  # nodes 1 and 3 are one fragment
    for order in (parts, parts[::-1]):
        merged = merge_edges(order, table)
        # 2-3 is joined by a long-range pair alone and drops out; 1-3 is inside fragment 2
        assert merged.edges.tolist() == [[1, 2]]
        assert (merged.count.tolist(), merged.total.tolist()) == ([3], [307])
