"""Targets against direct computations on small drawn labels."""

import numpy as np
import pytest
import torch

from connectomics.affinities import affinities_from_labels
from connectomics.training.losses import centreline_loss
from connectomics.training.targets import affinity_targets, descriptor_targets, erode_borders

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -3, 0), (-2, 0, -1))


def _labels(shape=(6, 7, 8), low=0, seed=0):
    return np.random.default_rng(seed).integers(low, 4, shape).astype(np.int32)


def test_affinities_are_those_of_the_numpy_function():
    labels = _labels()
    got, known = affinity_targets(torch.from_numpy(labels)[None], OFFSETS)
    expected, inside = affinities_from_labels(labels, OFFSETS)
    assert np.array_equal(got[0].numpy(), expected)
    assert np.array_equal(known[0].numpy(), inside)


def test_an_affinity_with_an_unlabelled_voxel_is_not_known():
    line = torch.tensor([1, 1, -1, 1, 0, 0, 2])[None, None, None]
    affinities, known = affinity_targets(line, [(0, 0, -1)])
    assert affinities[0, 0, 0, 0].tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert known[0, 0, 0, 0].tolist() == [False, True, False, False, True, True, True]


def test_erosion_draws_back_only_from_other_objects():
    line = torch.tensor([1, 1, 1, 2, 2, 2, 0, 3, 3, -1, 3], dtype=torch.int32)[None, None]
    assert erode_borders(line, 1)[0, 0].tolist() == [1, 1, 0, 0, 2, 2, 0, 3, 3, -1, 3]
    assert erode_borders(line, 2)[0, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 3, -1, 3]
    assert torch.equal(erode_borders(line, 0), line)


@pytest.mark.parametrize("voxels", [1, 2])
def test_erosion_slab_by_slab_is_erosion(voxels, monkeypatch):
    labels = torch.from_numpy(np.random.default_rng(0).integers(-1, 3, (9, 6, 7)).astype(np.int16))
    labels = labels.repeat_interleave(3, 0).repeat_interleave(3, 1).repeat_interleave(3, 2)
    whole = erode_borders(labels, voxels)
    assert (whole != labels).any() and (whole > 0).any(), "test invalid"
    monkeypatch.setattr("connectomics.training.targets._SLAB_VOXELS", 4 * 18 * 21)
    assert torch.equal(erode_borders(labels, voxels), whole)


def _direct(labels, voxel, sigma):
    """Descriptor of one voxel by a plain loop over its window."""
    reach = [int(3 * s) for s in sigma]
    axes = [np.arange(-r, r + 1) for r in reach]
    kernels = [np.exp(-0.5 * (a / s) ** 2) for a, s in zip(axes, sigma, strict=True)]
    total = np.prod([k.sum() for k in kernels])
    weights, offsets = [], []
    for index in np.ndindex(*(len(a) for a in axes)):
        offset = np.array([a[i] for a, i in zip(axes, index, strict=True)])
        place = np.array(voxel) + offset
        if (place < 0).any() or (place >= labels.shape).any() or labels[tuple(place)] != labels[voxel]:
            continue
        weights.append(np.prod([k[i] for k, i in zip(kernels, index, strict=True)]) / total)
        offsets.append(offset)
    w, o = np.array(weights), np.array(offsets)
    mean = (w[:, None] * o).sum(0) / w.sum()
    covariance = np.einsum("n,na,nb->ab", w, o, o) / w.sum() - np.outer(mean, mean)
    variance = np.diag(covariance)
    pairs = [covariance[a, b] / np.sqrt(variance[a] * variance[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    scaled = np.array(sigma)
    parts = [mean / scaled * 0.5 + 0.5, variance / scaled**2, np.array(pairs) * 0.5 + 0.5, [w.sum()]]
    return np.clip(np.concatenate(parts), 0, 1)


@pytest.mark.parametrize("sigma", [(1.5, 1.5, 1.5), (1.0, 2.0, 1.5)])
def test_descriptors_are_those_of_a_plain_loop(sigma):
    grid = np.stack(np.mgrid[:9, :10, :11], -1) @ np.array([1.0, 0.7, 0.4])
    labels = (1 + grid // 5).astype(np.int32)  # slanted slabs: every term is non-zero
    fields, known = descriptor_targets(torch.from_numpy(labels)[None], sigma, step=1)
    assert known.all()
    for voxel in ((4, 5, 5), (0, 0, 0), (8, 2, 7), (3, 9, 1)):
        got = fields[(0, slice(None), *voxel)].numpy()
        np.testing.assert_allclose(got, _direct(labels, voxel, sigma), atol=2e-4)


def test_coarse_descriptors_stay_near_the_fine_ones():
    labels = torch.from_numpy((1 + np.mgrid[:24, :24, :24][0] // 8).astype(np.int32))[None]
    fine, _ = descriptor_targets(labels, (4, 4, 4), step=1)
    coarse, known = descriptor_targets(labels, (4, 4, 4), step=2)
    assert coarse.shape == fine.shape
    difference = ((coarse - fine).abs() * known).amax()
    assert 0 < difference < 0.2


def test_odd_shapes_and_background_have_no_descriptor():
    labels = torch.from_numpy(_labels((7, 9, 5), low=-1))[None]
    fields, known = descriptor_targets(labels, (2, 2, 2), step=2)
    assert fields.shape == (1, 10, 7, 9, 5)
    assert not known[0, 0][labels[0] <= 0].any()
    assert fields.min() >= 0
    assert fields.max() <= 1


def test_a_skeleton_is_drawn_back_to_unlabelled():
    labels = torch.tensor([[[1, 1, 2, 2, 2]]], dtype=torch.int32)
    assert erode_borders(labels, 1).tolist() == [[[1, 0, 0, 2, 2]]]
    assert erode_borders(labels, 1, -1).tolist() == [[[1, -1, -1, 2, 2]]]


def test_the_centreline_loss_sees_a_cut_tube():
    labels = torch.zeros(1, 16, 16, 40, dtype=torch.int32)
    labels[:, 5:11, 5:11] = 1
    whole = torch.where(labels > 0, 8.0, -8.0)[:, None].expand(-1, 3, -1, -1, -1)
    cut = whole.clone()
    cut[..., 18:24] = -8.0
    unknown = labels.clone()
    unknown[..., 16:26] = -1
    assert centreline_loss(whole, labels) < 0.05 < 0.07 < centreline_loss(cut, labels)
    assert centreline_loss(cut, unknown) < 0.05, "what is unknown is not looked at"
