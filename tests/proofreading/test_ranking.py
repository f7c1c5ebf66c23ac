"""The queue and what it is made of: sides of links, the best of a table, worth that follows the edits."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectomics.io.tables import write_table
from connectomics.io.volume import Volume
from connectomics.proofreading import edge_table, pool
from connectomics.proofreading.edge_table import EdgeTable
from connectomics.proofreading.edits import Merge
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import open_output
from connectomics.proofreading.ranking import Queue, rank
from connectomics.proofreading.simulate import review, true_objects
from connectomics.proofreading.spanning import sides
from connectomics.proofreading.worth import Worth

WHO = {"author": "ann", "place": (0.0, 0.0, 0.0)}


@given(st.integers(2, 9), st.data())
def test_the_sides_of_a_link_are_what_is_left_on_either_side_without_it(number, data):
    networkx = pytest.importorskip("networkx")
    pairs = [(a, b) for a in range(number) for b in range(a + 1, number)]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1))
    sure = data.draw(st.lists(st.integers(0, 5), min_size=len(chosen), max_size=len(chosen)))
    weights = data.draw(st.lists(st.integers(1, 99), min_size=number, max_size=number))
    found = sides(np.array(chosen), np.array(sure, float), np.array(weights)).tolist()
    graph = networkx.Graph()
    graph.add_nodes_from(range(number))
    # ties are broken by order, so spread the weights a little
    graph.add_weighted_edges_from(
        [(*pair, s - 1e-3 * n) for n, (pair, s) in enumerate(zip(chosen, sure, strict=True))]
    )
    tree = networkx.maximum_spanning_tree(graph)
    for pair, side in zip(chosen, found, strict=True):
        if not tree.has_edge(*pair):
            assert side == -1
            continue
        rest = tree.copy()
        rest.remove_edge(*pair)
        halves = [sum(weights[n] for n in networkx.node_connected_component(rest, end)) for end in pair]
        assert side in halves


def a_table(folder, ends, **columns):
    ends = np.array(ends, np.uint64).reshape(-1, 2)
    flat = {"mean": 0.5, "p_wrong": 0.1} | columns
    write_table(folder, "edges", ends, 4)
    for name, value in flat.items():
        write_table(folder, name, np.broadcast_to(np.float32(value), len(ends)).copy(), 4)
    write_table(folder, "position", np.zeros((len(ends), 3), np.float32), 4)
    return EdgeTable(folder)


def test_edges_among_fragments_are_found_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(edge_table, "PIECE", 3)
    monkeypatch.setattr(edge_table, "PIECES_KEPT", 2)
    random = np.random.default_rng(0)
    ends = np.unique(np.sort(random.integers(1, 20, (60, 2)), axis=1), axis=0)
    ends = ends[ends[:, 0] != ends[:, 1]]
    table = a_table(tmp_path, ends)
    for _ in range(30):
        some = np.unique(random.integers(1, 22, random.integers(0, 9)))
        inside = np.isin(ends, some).all(axis=1)
        found = table.among(some)
        np.testing.assert_array_equal(found.ends, ends[inside])
        np.testing.assert_array_equal(found.row, np.flatnonzero(inside))
    assert len(a_table(tmp_path / "none", []).among(np.array([1, 2])).row) == 0


def test_the_pool_keeps_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr(edge_table, "PIECE", 2)
    ends = [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 5), (4, 6)]
    p_wrong = np.array([0.3, 0.2, 0.1, 0.4, 0.15, 0.9, 0.8])
    lut = np.array([0, 1, 1, 2, 2, 3, 0], np.uint64)  # 6 was dropped as too small
    output = SimpleNamespace(lut=lut, edges=a_table(tmp_path, ends, p_wrong=p_wrong))
    found = pool.gather(output, lambda edges, merged, segments: edges.p_wrong)
    assert found.edges.ends.tolist() == [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 5]]
    assert found.merged.tolist() == [True, *[False] * 5]
    np.testing.assert_allclose(found.same, [0.7, 0.2, 0.1, 0.4, 0.15, 0.9])
    few = pool.gather(output, lambda edges, merged, segments: edges.p_wrong, kept=2)
    assert few.edges.ends.tolist() == [[2, 3], [3, 5]]


def a_queue(tmp_path, order="run-length"):
    """Segments 1 = {1, 2, 3}, 2 = {4}, 3 = {5}, 4 = {6}."""
    lut = np.array([0, 1, 1, 1, 2, 3, 4], np.uint64)
    voxels = np.array([0, 50, 60, 70, 100, 200, 10])
    ends = [(1, 2), (2, 3), (1, 3), (3, 4), (2, 5), (4, 5), (4, 6)]
    p_wrong = np.array([0.01, 0.02, 0.9, 0.3, 0.1, 0.2, 0.5])
    order_of = np.lexsort(np.array(ends).T[::-1])
    edges = a_table(tmp_path, np.array(ends)[order_of], p_wrong=p_wrong[order_of])
    fragments = SimpleNamespace(voxel_size=(100.0, 100.0, 100.0))
    output = SimpleNamespace(lut=lut, voxels=voxels, edges=edges, fragments=fragments)
    mapping, verdicts = SegmentMap(lut, voxels), {}
    return mapping, verdicts, rank(output, mapping, verdicts, order)


def names(queue):
    return [queue.candidate(index).fragments for index in queue.peek(99)]


def test_a_merge_makes_what_is_at_stake_larger_and_answers_its_likes(tmp_path):
    mapping, verdicts, queue = a_queue(tmp_path)
    before = {queue.candidate(i).fragments: queue.candidate(i).gain_nm for i in queue.peek(99)}
    assert set(before) == {(1, 2), (2, 3), (3, 4), (2, 5), (4, 5), (4, 6)}, "1-3 parts nothing"
    assert list(before.values()) == sorted(before.values(), reverse=True)
    queue.changed(mapping.apply(Merge(a=3, b=4, **WHO)))
    after = {queue.candidate(i).fragments: queue.candidate(i).gain_nm for i in queue.peek(99)}
    assert (3, 4) not in after and after[4, 6] > before[4, 6] and after[2, 5] > before[2, 5]
    verdicts[2, 5] = "accept"  # 1 + 2 and 3 are two: so they are at the contact of 4 and 5
    queue.decided()
    assert not {(2, 5), (4, 5)} & set(names(queue))
    queue.changed(mapping.undo())
    assert {(3, 4), (4, 5)} <= set(names(queue))
    del verdicts[2, 5]
    queue.decided()
    queue.changed(frozenset([1]))
    assert names(queue) == list(before)


def test_what_was_taken_is_not_given_again(tmp_path):
    _, _, queue = a_queue(tmp_path)
    all_of_them = names(queue)
    taken = []
    while (index := queue.take()) is not None:
        taken.append(queue.candidate(index).fragments)
        assert queue.candidate(index).fragments not in names(queue)
    assert taken == all_of_them and queue.take() is None and len(queue) == 0


def test_random_order_is_the_same_for_a_seed_and_even(tmp_path):
    from connectomics.proofreading.worth import _drawn

    drawn = _drawn(np.arange(100_000), 7)
    assert drawn.min() > 0 and drawn.max() <= 1 and abs(drawn.mean() - 0.5) < 0.01
    assert (drawn == _drawn(np.arange(100_000), 7)).all() and (drawn != _drawn(np.arange(100_000), 8)).all()
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.01


def test_an_empty_graph_has_an_empty_queue(tmp_path):
    output = SimpleNamespace(lut=np.array([0, 1], np.uint64), edges=a_table(tmp_path, []))
    mapping = SegmentMap(output.lut, np.array([0, 5]))
    found = pool.gather(output, lambda edges, merged, segments: edges.p_wrong)
    queue = Queue(output, mapping, found, Worth.of("run-length", mapping, 1.0), {})
    assert queue.take() is None and queue.peek(3) == [] and len(queue) == 0


def test_a_perfect_reviewer_mends_everything_soonest_in_our_order(drawn, drawing):
    output = open_output(drawn.path)
    truth = Volume(drawn.truth, drawing.VOXEL_SIZE, drawing.OFFSET, "truth")
    objects = true_objects(output.fragments, truth, 12)
    assert objects.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    ours = review(output, objects, drawing.traced(), "run-length")
    assert ours.best == ours.nerl[-1] == 1.0 and ours.nerl[0] < 0.5 and ours.edits == 2
    assert ours.decisions_for(1.0) <= 3 and ours.decisions_for(0.0) == 0 and ours.decisions_for(1.1) is None
    for seed in range(3):
        random = review(output, objects, drawing.traced(), "random", seed)
        assert random.nerl[-1] == 1.0 and random.edits == 2
        assert random.decisions_for(0.5) >= ours.decisions_for(0.5)
