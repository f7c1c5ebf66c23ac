"""Components agglomerated apart, and level by level, against the whole graph at once: ties included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectomics.segmentation.agglomeration import PERCENTS, agglomerate, merge_rows
from connectomics.segmentation.edge_rows import ROW, EdgeRows
from connectomics.segmentation.histograms import Histograms
from connectomics.segmentation.independence import batches, choose_level, component_edges, components
from connectomics.segmentation.region_graph import RegionGraph
from connectomics.segmentation.union_find import flatten, join

LINKAGES = ["mean", "median", "percentile90", "percentile95"]
THRESHOLDS = [0.0, 0.2, 0.4, 100 / 255, 0.5, 0.8]


def rows_of(pairs, values):
    """Edges with the affinities of their voxel pairs, numbered in the order of their ends."""
    histogram = np.zeros((len(pairs), 256), np.uint32)
    rows = np.zeros(len(pairs), ROW)
    for edge, (pair, those) in enumerate(sorted(zip(pairs, values, strict=True))):
        np.add.at(histogram[edge], list(those), 1)
        rows[edge] = (*pair, len(those), sum(those), sum(a * a for a in those), 1, edge)
    return EdgeRows(rows, Histograms.from_dense(histogram))


@st.composite
def graphs(draw):
    """Graphs of few affinities, so that ties abound, on more nodes than they join."""
    nodes = draw(st.integers(2, 14))
    pairs = [(u, v) for u in range(1, nodes + 1) for v in range(u + 1, nodes + 1)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1, max_size=40))
    few = st.sampled_from([10, 60, 90, 100, 110, 130, 140, 200, 255])
    values = [tuple(draw(st.lists(few, min_size=1, max_size=5))) for _ in chosen]
    return nodes, rows_of(chosen, values)


def at_once(nodes, edges, linkage, threshold):
    return agglomerate(RegionGraph.from_rows(edges), nodes, linkage, threshold).lut(threshold)


def numbered(roots):
    return np.unique(roots, return_inverse=True)[1].astype(np.uint64)


def merge_apart(nodes, edges, linkage, level):
    """The sets of fragments that are one segment, each component by itself, the last first."""
    component = components(lambda: [edges], nodes, PERCENTS.get(linkage), level)
    roots = np.arange(nodes + 1)
    u, v = component[edges.rows["u"]], component[edges.rows["v"]]
    for name in np.unique(component)[::-1]:
        part = edges.taken(np.flatnonzero((u == name) & (v == name))[::-1])
        join(roots, merge_rows(part, linkage, level))
    flatten(roots)
    return roots


@pytest.mark.parametrize("linkage", LINKAGES)
@given(case=graphs(), threshold=st.sampled_from(THRESHOLDS))
@settings(max_examples=150)
def test_components_apart_give_the_whole(linkage, case, threshold):
    nodes, edges = case
    apart = merge_apart(nodes, edges, linkage, 255.0 * threshold)
    np.testing.assert_array_equal(numbered(apart), at_once(nodes, edges, linkage, threshold))


@pytest.mark.parametrize("linkage", LINKAGES)
@given(case=graphs(), threshold=st.sampled_from(THRESHOLDS), levels=st.sets(st.integers(1, 254), max_size=4))
@settings(max_examples=150)
def test_level_by_level_gives_the_whole(linkage, case, threshold, levels):
    nodes, edges = case
    expected = at_once(nodes, edges, linkage, threshold)
    goal, roots = 255.0 * threshold, np.arange(nodes + 1)
    for level in [*sorted((float(n) for n in levels if n > goal), reverse=True), goal]:
        merged = merge_apart(nodes, edges, linkage, level)
        roots = merged[roots]
        edges = edges.renamed(merged[edges.rows["u"]], merged[edges.rows["v"]])
    np.testing.assert_array_equal(numbered(roots), expected)


def test_weak_edges_inside_a_component_count():
    #  1 =250= 2      after 1+2:  3 is tied by (200 + 3 * 60) / 4 = 95: the weak edge counts
    #   \200  /60x3
    #      3
    edges = rows_of([(1, 2), (1, 3), (2, 3)], [(250,), (200,), (60, 60, 60)])
    assert numbered(merge_apart(3, edges, "mean", 127.5)).tolist() == [0, 1, 1, 2]
    strong = edges.taken(np.flatnonzero(edges.affinity(None) > 127.5))
    assert numbered(merge_apart(3, strong, "mean", 127.5)).tolist() == [0, 1, 1, 1]


def test_components_are_those_of_strong_edges():
    edges = rows_of([(1, 2), (2, 3), (4, 5), (3, 5)], [(200,), (200,), (150,), (20,)])
    component = components(lambda: [edges], 6, None, 127.5)
    assert component.tolist() == [0, 1, 1, 1, 4, 4, 6]
    assert component_edges(lambda: [edges], component).tolist() == [0, 2, 0, 0, 1, 0, 0]


def test_batches_hold_about_as_many_edges_the_largest_component_first():
    batch, number = batches(np.array([0, 2, 0, 30, 3, 4, 1]), 5)
    assert number == 3
    assert batch[3] == 0 and batch[[0, 2]].tolist() == [-1, -1]
    assert batch[[5, 4, 1, 6]].tolist() == [1, 1, 2, 2]


def test_the_level_is_the_lowest_with_small_components():
    assert choose_level(lambda level: True, 127.5, 255.0) == 127.5
    assert choose_level(lambda level: level >= 180, 127.5, 255.0) == 180.0
    assert choose_level(lambda level: level >= 180, 127.5, 150.0) == 149.0  # none: one step down
    assert choose_level(lambda level: False, 127.5, 128.0) == 127.5


@given(case=graphs(), threshold=st.integers(0, 255), cut=st.integers(0, 40))
def test_histograms_add_up_and_lump(case, threshold, cut):
    histogram, rows = case[1].histogram, case[1].rows
    dense = histogram.dense()
    order = np.arange(len(dense))[::-1]
    starts = np.array([0, min(cut, len(dense) - 1)]) if 0 < cut < len(dense) else np.array([0])
    expected = np.add.reduceat(dense[order], starts)
    np.testing.assert_array_equal(histogram.summed(order, starts).dense(), expected)
    for percent in (50, 90):
        found = histogram.percentile(rows["count"], percent)
        values = [np.sort(np.repeat(np.arange(256), row)) for row in dense]
        wanted = np.array([v[-(-len(v) * percent // 100) - 1] for v in values])
        np.testing.assert_array_equal(found, wanted)
        lumped = histogram.lumped(threshold).percentile(rows["count"], percent)
        np.testing.assert_array_equal(lumped, np.maximum(wanted, threshold))
