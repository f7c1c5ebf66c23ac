"""Joining local fragments: union-find against scipy, numbering, what is refused, and votes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from connectomics.errors import InputError
from connectomics.segmentation.stitching import mutual_best, resolve
from connectomics.segmentation.union_find import union

graphs = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2), max_size=60))
)


def block(keys):
    return len(keys), np.array(keys, np.uint64), np.ones(len(keys), np.int64)


@given(graphs)
def test_union_finds_the_components_that_scipy_finds(graph):
    n, pairs = graph
    pairs = np.array(pairs, np.int64).reshape(-1, 2)
    roots = union(n, pairs)
    labels = connected_components(coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), (n, n)))[1]
    np.testing.assert_array_equal(roots[:, None] == roots, labels[:, None] == labels)
    assert all(root == np.flatnonzero(roots == root).min() for root in roots)


@given(graphs, st.randoms(use_true_random=False))
def test_the_order_of_pairs_changes_nothing(graph, random):
    n, pairs = graph
    shuffled = [random.choice([(a, b), (b, a)]) for a, b in pairs]
    random.shuffle(shuffled)
    both = [union(n, np.array(p, np.int64).reshape(-1, 2)) for p in (pairs, shuffled)]
    np.testing.assert_array_equal(*both)


def test_fragments_are_numbered_by_their_smallest_key():
    #  nodes 0 1 2 | 3 4 | 5; 1 and 3 share a key, 4 has none but a link to 5
    table = resolve([block([90, 20, 7]), block([20, 0]), block([30])], np.array([[4, 5]]))
    assert table.tolist() == [4, 2, 1, 2, 3, 3]
    assert table.dtype == np.uint64


def test_the_order_of_blocks_does_not_change_names():
    blocks = [block([90, 20, 7]), block([20, 0]), block([30])]
    turned = resolve(blocks[::-1], np.array([[2, 0]]))  # the link again, in the new numbering of nodes
    assert turned.tolist() == [3, 2, 3, 4, 2, 1]


def test_nothing_gives_nothing():
    assert resolve([], np.zeros((0, 2), np.int64)).tolist() == []
    assert resolve([block([]), block([])], np.zeros((0, 2), np.int64)).tolist() == []


@pytest.mark.parametrize("link", [(0, 2), (-1, 0)])
def test_a_link_to_no_node_is_refused(link):
    with pytest.raises(InputError, match=r"nodes 0\.\.1"):
        resolve([block([1, 2])], np.array([link]))


def test_a_fragment_without_a_name_is_refused():
    with pytest.raises(InputError, match="1 local fragments have no name"):
        resolve([block([1, 0])], np.zeros((0, 2), np.int64))


def test_keys_must_match_the_number_of_fragments():
    with pytest.raises(InputError, match="3 fragments has 2 keys"):
        resolve([(3, np.array([1, 2], np.uint64), np.ones(3, np.int64))], np.zeros((0, 2), np.int64))


def votes(**counts):
    """votes(a3=2): two votes for the pair of nodes 0 (a) and 3."""
    return np.array([["abc".index(k[0]), int(k[1:])] for k, n in counts.items() for _ in range(n)], np.int64)


TWO_BLOCKS = np.array([0, 0, 0, 1, 1, 1])  # nodes 0 1 2 (a b c) and 3 4 5


def test_only_what_both_sides_want_most_is_linked():
    # a wants 3 (5 votes), 3 wants a; b wants 3 too (2) but has 4 (1): 3 does not want b, 4 is not b's best
    assert mutual_best(votes(a3=5, b3=2, b4=1), TWO_BLOCKS).tolist() == [[0, 3]]


def test_votes_of_both_sides_add_up_in_either_order():
    both = np.concatenate([votes(a3=2, a4=3), votes(a3=2)[:, ::-1]])
    assert mutual_best(both, TWO_BLOCKS).tolist() == [[0, 3]]


def test_ties_go_to_the_smaller_node():
    assert mutual_best(votes(a4=2, a3=2, b4=2), TWO_BLOCKS).tolist() == [[0, 3]]
    assert mutual_best(votes(b5=1, c5=1), TWO_BLOCKS).tolist() == [[1, 5]]


def test_each_pair_of_blocks_is_judged_for_itself():
    # node 0 goes on in both other blocks, more strongly in one
    blocks = np.array([0, 0, 0, 1, 1, 2])
    assert mutual_best(votes(a3=9, a5=1), blocks).tolist() == [[0, 3], [0, 5]]


def test_no_votes_no_links():
    assert mutual_best(np.zeros((0, 2), np.int64), np.zeros(0, np.int64)).shape == (0, 2)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(5, 9)), max_size=60), st.randoms(use_true_random=False)
)
def test_a_fragment_gets_at_most_one_partner_in_a_block(drawn_votes, random):
    blocks = np.repeat([0, 1], 5)
    links = mutual_best(np.array(drawn_votes, np.int64).reshape(-1, 2), blocks)
    assert len(set(links[:, 0])) == len(set(links[:, 1])) == len(links)
    assert bool(len(links)) == bool(drawn_votes)  # the pair with most votes is always linked
    random.shuffle(drawn_votes)
    again = mutual_best(np.array(drawn_votes, np.int64).reshape(-1, 2)[:, ::-1], blocks)
    np.testing.assert_array_equal(links, again)
