"""Pairs: two grids laid over each other to the voxel, cut, mirrored and turned together."""

import h5py
import numpy as np
import pytest
import torch

from connectomics.errors import GeometryError, InputError, SettingsError
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.training.data_settings import DataSettings, PairData, PhantomData
from connectomics.training.pair_loading import (
    check_crop_fits,
    load_pairs,
    load_phantom_pairs,
    make_pair,
)
from connectomics.training.pairs import PairCropper, cut_pair
from connectomics.training.settings import AugmentSettings

FACTOR = (1, 2, 2)
STILL = AugmentSettings(contrast=0, brightness=0, gamma=0, noise=0, blur=0)


def _coarse(fine, factor=FACTOR):
    cells = [n for size, f in zip(fine.shape, factor, strict=True) for n in (size // f, f)]
    return fine.reshape(cells).mean((1, 3, 5)).astype(np.float32)


@pytest.fixture
def fine():
    return np.random.default_rng(0).uniform(0, 200, (12, 24, 20)).astype(np.float32)


@pytest.fixture
def files(tmp_path, fine):
    """em.h5, and xray.h5 that begins one input voxel (2 fine ones) later along y and x."""
    with h5py.File(tmp_path / "pair.h5", "w") as file:
        file["em"] = fine
        file["em"].attrs.update(resolution=(10, 10, 10), offset=(100, 0, 0))
        file["xray"] = _coarse(fine)[:, 1:, 1:]
        file["xray"].attrs.update(resolution=(10, 20, 20), offset=(100, 20, 20))
    return tmp_path


def _data(root, **more):
    values = {"root": str(root), "voxel_size": [10, 20, 20], "modality": "xray", **more}
    return DataSettings.parse(values)


def _load(root, factor=FACTOR, **pair):
    values = {"raw": "pair.h5/xray", "target": "pair.h5/em", **pair}
    return load_pairs(_data(root), [PairData.parse(values)], factor)


def _grey(source, image, target):
    """Undo both standardisations."""
    return image * source.std + source.mean, target * source.target_std + source.target_mean


def test_crops_match_to_the_voxel_however_they_are_turned(fine):
    source = make_pair(_coarse(fine), fine)
    cropper = PairCropper([source], (6, 6, 6), 2, STILL, (10.0, 20.0, 20.0), seed=0)
    plain = []
    for step in range(12):
        images, targets = cropper.batch(step)
        assert images.shape == (2, 1, 6, 6, 6)
        assert targets.shape == (2, 1, 6, 12, 12)
        for image, target in zip(images[:, 0], targets[:, 0], strict=True):
            image, target = _grey(source, image, target)
            np.testing.assert_allclose(_coarse(target.numpy()), image, rtol=1e-3, atol=0.05)
            plain.append(
                any(np.allclose(image[0, 0], row) for row in source.raw.unfold(2, 6, 1).reshape(-1, 6))
            )
    assert not all(plain)  # some were mirrored or turned


def test_a_turn_does_not_mix_axes_of_different_voxels(fine):
    source = make_pair(_coarse(fine), fine)
    swap = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    image, target = cut_pair(source, (1, 2, 3), (4, 5, 5), swap)
    image, target = _grey(source, image, target)
    expected = source.raw[1:5, 2:7, 3:8].transpose(1, 2).flip(1)
    torch.testing.assert_close(image, expected, rtol=1e-3, atol=0.05)
    np.testing.assert_allclose(_coarse(target.numpy()), image, rtol=1e-3, atol=0.05)


def test_only_the_inputs_grey_values_vary(fine):
    source = make_pair(_coarse(fine), fine)
    varied = AugmentSettings(flips=False, contrast=0.5, noise=1.0)
    size = tuple(source.raw.shape)
    image, target = PairCropper([source], size, 1, varied, (10.0, 20.0, 20.0), seed=0).batch(0)
    image, target = _grey(source, image[0, 0], target[0, 0])
    torch.testing.assert_close(target, source.target, rtol=1e-3, atol=0.05)
    assert (image - source.raw).abs().mean() > 10


def test_a_batch_depends_on_its_step_alone(fine):
    source = make_pair(_coarse(fine), fine)
    made = [PairCropper([source], (4, 4, 4), 2, AugmentSettings(), (10.0, 20.0, 20.0), 3) for _ in range(2)]
    for a, b in zip(made[0].batch(7), made[1].batch(7), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(made[0].batch(7)[1], made[0].batch(8)[1])


def test_volumes_are_laid_over_each_other_by_offset(files, fine):
    (source,) = _load(files)
    assert source.factor == FACTOR
    assert source.raw.shape == (12, 11, 9)
    np.testing.assert_allclose(_coarse(source.target.numpy()), source.raw, rtol=1e-5)
    (part,) = _load(files, region=[[2, 8], [0, 5], [3, 9]], score_region=[[4, 8], [0, 5], [3, 9]])
    np.testing.assert_allclose(_coarse(part.target.numpy()), part.raw, rtol=1e-5)
    assert part.score == (slice(2, 6), slice(0, 5), slice(0, 6))


def test_what_lies_between_the_grids_goes_to_the_nearest_voxel_with_a_warning(files, caplog):
    with h5py.File(files / "pair.h5", "r+") as file:
        file["xray"].attrs["offset"] = (100, 24, 20)
    (source,) = _load(files)
    assert "voxels off the grid" in caplog.text
    np.testing.assert_allclose(_coarse(source.target.numpy()), source.raw, rtol=1e-5)


def test_pairs_that_do_not_fit_are_refused(files):
    with pytest.raises(GeometryError, match="upsample"):
        _load(files, factor=(1, 3, 3))
    with pytest.raises(GeometryError, match="covers"):
        _load(files, region=[[0, 12], [0, 12], [0, 9]])
    with pytest.raises(GeometryError, match="score_region"):
        _load(files, region=[[0, 4], [0, 5], [0, 5]], score_region=[[0, 5], [0, 5], [0, 5]])
    with pytest.raises(SettingsError, match="either raw or simulate"):
        PairData.parse({"target": "pair.h5/em"})
    with pytest.raises(InputError, match="smaller than the crop"):
        check_crop_fits(_load(files), (13, 4, 4))
    with pytest.raises(InputError, match="constant"):
        make_pair(np.ones((4, 4, 4)), np.ones((8, 8, 8)))


def test_inputs_are_simulated_from_the_region_alone(files, fine):
    pair = {"raw": None, "simulate": {"seed": 3, "count": 2}, "region": [[0, 6], [0, 12], [0, 10]]}
    first, second = _load(files, **pair)
    assert first.raw.shape == (6, 12, 10)
    assert first.target is second.target
    assert not torch.equal(first.raw, second.raw)
    assert first.proportion == 0.5
    with h5py.File(files / "pair.h5", "r+") as file:
        file["em"][6:] = 0
    assert torch.equal(_load(files, **pair)[0].raw, first.raw)
    with pytest.raises(SettingsError, match="factor"):
        _load(files, **{**pair, "simulate": {"factor": [3, 3, 3]}})


def test_phantoms_give_both_sides_of_one_tissue(tmp_path):
    data = DataSettings.parse({"voxel_size": [99, 99, 99], "modality": "xray"})
    group = PhantomData(first_seed=5, count=1, shape=(10, 10, 10))
    (source,) = load_phantom_pairs(data, [group], (3, 3, 3), tmp_path)
    box = (slice(0, 10),) * 3
    xray = Phantom(PhantomSettings(seed=5, voxel_size=99)).xray(box)
    np.testing.assert_array_equal(source.raw, xray)
    assert source.target.shape == (30, 30, 30)
    coarse = _coarse(source.target.numpy().astype(np.float32), (3, 3, 3))
    assert np.corrcoef(coarse.ravel(), xray.ravel())[0, 1] > 0.5
    with pytest.raises(SettingsError, match="cubes"):
        load_phantom_pairs(data, [group], (1, 3, 3), tmp_path)


def test_a_tissue_is_the_same_at_every_voxel_size():
    coarse = Phantom(PhantomSettings(seed=5, voxel_size=99)).labels((slice(0, 10),) * 3)
    finer = Phantom(PhantomSettings(seed=5, voxel_size=33)).labels((slice(0, 30),) * 3)
    np.testing.assert_array_equal(finer[1::3, 1::3, 1::3], coarse)
    assert len(np.unique(coarse)) > 2
