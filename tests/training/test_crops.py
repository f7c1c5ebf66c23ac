"""Crops: image and labels stay together under every geometry, and outside stays unlabelled."""

import numpy as np
import pytest
import torch

from connectomics.training.augment import (
    draw_bend,
    draw_matrix,
    ring_profile,
    vary_cytoplasm,
    vary_intensity,
)
from connectomics.training.crops import Cropper, cut
from connectomics.training.settings import AugmentSettings
from connectomics.training.sources import make_source

PLAIN = AugmentSettings(flips=False, rotate=0, elastic=0, contrast=0, brightness=0, gamma=0, noise=0, blur=0)


def _source(shape=(20, 22, 24)):
    """Smooth blobs as image; the label of a voxel is 1 + image // 16, so each can be checked by the other."""
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    raw = (128 + 100 * np.sin(z / 5) * np.sin(y / 6) * np.sin(x / 7)).astype(np.uint8)
    return make_source(raw, (1 + raw // 16).astype(np.uint16), True)


def test_an_unturned_crop_is_exactly_the_volume():
    source = _source()
    image, labels = cut(source, (8, 8, 8), np.eye(3), (9.5, 8.5, 13.5), None)
    box = (slice(6, 14), slice(5, 13), slice(10, 18))
    torch.testing.assert_close(image * source.std + source.mean, source.raw[box].float(), atol=1e-3, rtol=0)
    assert torch.equal(labels, source.labels[box].int())


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2)])
def test_a_mirrored_transposed_crop_is_a_permutation(order):
    source = _source()
    matrix = np.eye(3)[list(order)] * np.array([[-1.0], [1.0], [-1.0]])
    _, labels = cut(source, (8, 8, 8), matrix, (9.5, 8.5, 13.5), None)
    box = source.labels[6:14, 5:13, 10:18].int()
    expected = torch.empty_like(box)
    for v in np.ndindex(8, 8, 8):
        at = matrix @ (np.array(v) - 3.5) + 3.5
        expected[v] = box[tuple(round(a) for a in at)]
    assert torch.equal(labels, expected)


def test_image_and_labels_stay_together_when_turned_and_bent():
    source = _source((40, 40, 40))
    random = np.random.default_rng(3)
    settings = AugmentSettings(rotate=1, elastic=1, elastic_sigma=1.5)
    for _ in range(5):
        matrix = draw_matrix(random, settings, (10, 10, 10))
        bend = draw_bend(random, settings, (16, 16, 16))
        image, labels = cut(source, (16, 16, 16), matrix, (19.5, 19.5, 19.5), bend)
        raw = image * source.std + source.mean
        assert (labels > 0).all()
        lowest = int(source.raw.min()) // 16
        assert ((raw / 16 - (labels - 1 + lowest + 0.5)).abs() < 1.5).float().mean() > 0.97


def test_beyond_the_volume_is_unlabelled():
    source = _source()
    image, labels = cut(source, (8, 8, 8), np.eye(3), (0.5, 9.5, 9.5), None)
    assert (labels[:3] == -1).all()
    assert (labels[3:] > 0).all()
    assert torch.isfinite(image).all()


def test_a_batch_depends_on_step_and_rank_alone():
    cropper = Cropper([_source()], (8, 8, 8), 2, AugmentSettings(sections=1, rings=1), (10, 10, 10), 5)
    first = cropper.batch(7)
    cropper.batch(8)
    again = cropper.batch(7)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], cropper.batch(7, rank=1)[0])
    assert not torch.equal(first[0], cropper.batch(8)[0])


def test_a_crop_larger_than_the_volume_is_masked_not_refused():
    image, labels = Cropper([_source()], (32, 32, 32), 1, AugmentSettings(), (10, 10, 10), 0).batch(0)
    assert image.shape == (1, 1, 32, 32, 32)
    assert 0 < (labels > 0).float().mean() < 1


@pytest.mark.parametrize("voxel_size", [(40, 10, 10), (40, 10, 20)])
def test_anisotropic_axes_are_not_exchanged(voxel_size):
    random = np.random.default_rng(0)
    settings = AugmentSettings(rotate=1)
    for _ in range(20):
        matrix = draw_matrix(random, settings, voxel_size)
        assert np.count_nonzero(matrix[0]) == 1
        assert np.count_nonzero(matrix[:, 0]) == 1
        if voxel_size[1] != voxel_size[2]:
            assert np.count_nonzero(matrix) == 3


def test_no_variation_leaves_the_image():
    image = torch.randn(2, 1, 8, 8, 8).clamp(-3.9, 3.9)
    same = vary_intensity(image, PLAIN, np.random.default_rng(0), torch.Generator())
    torch.testing.assert_close(same, image, atol=1e-5, rtol=0)
    changed = vary_intensity(image, AugmentSettings(), np.random.default_rng(0), torch.Generator())
    assert not torch.allclose(changed, image)


def test_rings_are_the_same_in_every_section():
    profile = ring_profile((5, 16, 17), np.random.default_rng(0))
    assert profile.shape == (1, 16, 17)
    assert profile.std() > 0


def test_rare_objects_come_up_more_often():
    labels = np.zeros((40, 40, 40), np.uint16)
    labels[:10], labels[18:26, 18:26, 18:26] = 1, 2
    source = make_source(labels.astype(np.uint8), labels, True)

    def share(rare):
        cropper = Cropper([source], (8, 8, 8), 1, PLAIN, (10, 10, 10), 0, rare)
        return np.mean([(cropper.batch(step)[1] == 2).any().item() for step in range(200)])

    assert share(1.0) > share(0.0) + 0.05


def test_cytoplasm_changes_whole_objects_and_nothing_else():
    labels = torch.zeros(12, 12, 12, dtype=torch.int32)
    labels[:5], labels[7:] = 1, 2
    changed = vary_cytoplasm(torch.zeros(12, 12, 12), labels, 1.0, np.random.default_rng(1))
    assert changed[:4].std() < 1e-6 and changed[8:].std() < 1e-6
    assert changed[0, 0, 0] != changed[11, 0, 0]
    unlabelled = vary_cytoplasm(torch.zeros(12, 12, 12), labels * 0 - 1, 1.0, np.random.default_rng(1))
    assert not unlabelled.any()


@pytest.mark.parametrize("crop", [(16, 48, 48), (9, 32, 32), (48, 16, 32)])
def test_a_crop_of_unequal_edges_hardly_leaves_the_volume_however_it_is_turned(crop):
    source = _source((64, 64, 64))
    flips = PLAIN.model_copy(update={"flips": True})
    cropper = Cropper([source], crop, 1, flips, (10, 10, 10), 0)
    for step in range(60):
        _, labels = cropper.batch(step)
        inside = [n - n // 8 for n in crop]  # an eighth over one edge at most, along every axis
        assert (labels >= 0).float().mean() >= np.prod(inside) / np.prod(crop) - 1e-6


def test_no_voxel_is_taken_twice_by_a_turned_crop_of_even_and_odd_edges():
    shape = (40, 40, 40)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    source = make_source((numbers % 251).astype(np.uint8), (1 + numbers).astype(np.uint32), False)
    cropper = Cropper([source], (5, 16, 16), 1, PLAIN.model_copy(update={"flips": True}), (10, 10, 10), 0)
    for step in range(20):
        known = cropper.batch(step)[1]
        known = known[known >= 0]
        assert len(torch.unique(known)) == len(known)
