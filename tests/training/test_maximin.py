"""Maximin affinities: pair counts against brute force, and a loss that acts on the weakest links alone."""

import itertools

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from connectomics.affinities import NEAREST, pair_slices
from connectomics.training.maximin import maximin_loss, tree_pairs


def _by_paths(affinities, labels):
    """The same counts from one search per pair: the weakest edge of the path in the spanning tree.

    An edge below 0 does not exist.
    """
    graph, number = nx.Graph(), {}
    graph.add_nodes_from(np.ndindex(labels.shape))
    for channel, offset in enumerate(NEAREST):
        for v in np.ndindex(labels.shape):
            u = tuple(np.add(v, offset))
            if min(u) >= 0 and affinities[(channel, *v)] >= 0:
                graph.add_edge(v, u, weight=affinities[(channel, *v)])
                number[frozenset((u, v))] = (channel, *v)
    tree = nx.maximum_spanning_tree(graph)
    counts = np.zeros((2, *affinities.shape), np.int64)
    for a, b in itertools.combinations(list(np.argwhere(labels > 0).tolist()), 2):
        if not nx.has_path(tree, tuple(a), tuple(b)):
            continue
        path = nx.shortest_path(tree, tuple(a), tuple(b))
        edges = [number[frozenset(pair)] for pair in itertools.pairwise(path)]
        weakest = min(edges, key=lambda edge: affinities[edge])
        counts[(int(labels[tuple(a)] != labels[tuple(b)]), *weakest)] += 1
    return counts


@given(seed=st.integers(0, 10_000), kinds=st.integers(1, 4))
def test_pairs_equal_those_counted_path_by_path(seed, kinds):
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers(1, 5, 3))
    order = random.permutation(3 * int(np.prod(shape)))
    affinities = ((order + 1) / (len(order) + 1)).reshape(3, *shape)  # no ties: the tree is the only one
    labels = random.integers(-1, kinds + 1, shape)
    expected = _by_paths(affinities, labels)
    same, different = tree_pairs(affinities, labels)
    np.testing.assert_array_equal(same, expected[0])
    np.testing.assert_array_equal(different, expected[1])


def _links(labels):
    """For each edge (3, z, y, x): known to lie inside an object, known to cross a border."""
    inside, across = np.zeros((2, 3, *labels.shape), bool)
    for channel, offset in enumerate(NEAREST):
        here, there = pair_slices(offset)
        a, b = labels[here], labels[there]
        inside[channel][here] = (a == b) & (a > 0)
        across[channel][here] = (a >= 0) & (b >= 0) & ~inside[channel][here]
    return inside, across


@given(seed=st.integers(0, 10_000), kinds=st.integers(1, 3))
def test_the_loss_weighs_pairs_of_two_constrained_trees(seed, kinds):
    """One without the links known to cross a border, one in which those known to lie inside are perfect."""
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers(1, 5, 3))
    order = random.permutation(3 * int(np.prod(shape)))
    affinities = ((order + 1) / (len(order) + 1)).reshape(3, *shape)
    labels = random.integers(-1, kinds + 1, shape)
    inside, across = _links(labels)
    same = _by_paths(np.where(across, -1, affinities), labels)[0]
    different = _by_paths(np.where(inside, 1 + affinities, affinities), labels)[1]
    logits = torch.logit(torch.tensor(affinities))[None].requires_grad_()
    maximin_loss(logits, torch.tensor(labels)[None]).backward()
    weights = 0.5 * np.stack((same / max(same.sum(), 1), different / max(different.sum(), 1)))
    expected = weights[0] * (affinities - 1) + weights[1] * affinities  # d softplus(-x), d softplus(x)
    np.testing.assert_allclose(logits.grad[0].numpy(), expected, atol=1e-6)


def _row(affinities, labels):
    """Loss and its gradient along a row of voxels; affinity i links voxel i to voxel i - 1."""
    logits = torch.zeros(1, 3, 1, 1, len(labels))
    logits[0, 2, 0, 0] = torch.logit(torch.tensor(affinities))
    logits.requires_grad_()
    loss = maximin_loss(logits, torch.tensor(labels).reshape(1, 1, 1, -1))
    loss.backward()
    return float(loss.detach()), logits.grad[0, 2, 0, 0].numpy()


def test_two_points_of_one_object_raise_the_weakest_link_between_them():
    _, gradient = _row([0.5, 0.9, 0.3, 0.8, 0.9], [1, -1, -1, -1, 1])
    assert gradient[2] < 0 and not np.delete(gradient, 2).any()


def test_two_objects_lower_the_weakest_link_between_them():
    _, gradient = _row([0.5, 0.9, 0.3, 0.8, 0.9], [1, -1, -1, -1, 2])
    assert gradient[2] > 0 and not np.delete(gradient, 2).any()


def test_links_inside_objects_are_never_lowered_nor_links_across_borders_raised():
    _, gradient = _row([0.5, 0.1, 0.6, 0.7, 0.2], [1, 1, 0, 2, 2])
    assert (gradient[[1, 4]] <= 0).all() and (gradient[[2, 3]] >= 0).all() and gradient.any()


@pytest.mark.parametrize("labels", [[-1, -1, -1], [1, -1, -1], [0, 0, 0]])
def test_nothing_to_decide_costs_nothing(labels):
    loss, gradient = _row([0.5, 0.5, 0.5], labels)
    assert loss == 0 and not gradient.any()


def test_descending_it_separates_objects_that_touch():
    labels = torch.full((1, 1, 6, 12), -1)
    labels[..., 3, :5], labels[..., 3, 7:] = 1, 2
    logits = torch.full((1, 3, 1, 6, 12), 0.5, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.1)
    first = None
    for _ in range(200):
        optimiser.zero_grad()
        loss = maximin_loss(logits, labels)
        first = first or float(loss.detach())
        loss.backward()
        optimiser.step()
    affinities, ids = torch.sigmoid(logits[0]).detach().numpy(), labels[0].numpy()
    _, different = tree_pairs(affinities, ids)
    same, _ = tree_pairs(affinities, ids)
    assert float(loss.detach()) < first / 3
    assert affinities[different > 0].max() < 0.5 < affinities[same > 0].min()
