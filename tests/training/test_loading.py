"""Volumes to train on: labels are put where their offset says, and nowhere else."""

import h5py
import numpy as np
import pytest

from connectomics.errors import GeometryError, InputError
from connectomics.training.data_settings import DataSettings, VolumeData
from connectomics.training.loading import load_volumes
from connectomics.training.settings import TruthSettings
from connectomics.training.sources import UNLABELLED, make_source


@pytest.fixture
def data(tmp_path):
    """An image of 20 x 24 x 28 voxels of 10 nm at (100, 200, 300), and a way to put labels on it."""
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (20, 24, 28)).astype(np.uint8)

    def load(shape, offset, **fields):
        painted = random.integers(1, 5, shape).astype(np.uint16)
        with h5py.File(tmp_path / "data.h5", "w") as file:
            for name, array, place in (("raw", image, (100, 200, 300)), ("labels", painted, offset)):
                file[name] = array
                file[name].attrs.update({"resolution": (10, 10, 10), "offset": place})
        volume = VolumeData(raw="data.h5/raw", labels="data.h5/labels", **fields)
        settings = DataSettings(root=str(tmp_path), voxel_size=(10, 10, 10), modality="em")
        return image, painted, load_volumes(settings, [volume], TruthSettings())[0]

    return load


def test_labels_of_a_part_lie_where_their_offset_says(data):
    image, painted, source = data((6, 7, 8), (120, 230, 340))
    np.testing.assert_array_equal(source.raw, image)
    expected = np.full(image.shape, -1)
    expected[2:8, 3:10, 4:12] = painted
    np.testing.assert_array_equal(source.labels, expected)


def test_a_region_cuts_image_and_labels_alike(data):
    region = ((5, 20), (0, 24), (6, 28))
    image, painted, source = data((6, 7, 8), (120, 230, 340), region=region)
    np.testing.assert_array_equal(source.raw, image[5:, :, 6:])
    expected = np.full((15, 24, 22), -1)
    expected[:3, 3:10, :6] = painted[3:, :, 2:]
    np.testing.assert_array_equal(source.labels, expected)


@pytest.mark.parametrize("offset", [(90, 200, 300), (280, 200, 300)])
def test_labels_outside_the_image_are_refused(data, offset):
    with pytest.raises(GeometryError, match="does not lie inside"):
        data((6, 7, 8), offset)


@pytest.mark.parametrize(("name", "by"), [("raw", "by the recipe"), ("labels", "by the image")])
def test_voxels_of_another_size_are_refused(data, tmp_path, name, by):
    data((6, 7, 8), (120, 230, 340))
    with h5py.File(tmp_path / "data.h5", "a") as file:
        file[name].attrs["resolution"] = (99.0, 99.0, 99.0)
    volume = VolumeData(raw="data.h5/raw", labels="data.h5/labels")
    settings = DataSettings(root=str(tmp_path), voxel_size=(10, 10, 10), modality="em")
    with pytest.raises(GeometryError, match=f"99.*{by}"):
        load_volumes(settings, [volume], TruthSettings())


def test_labels_between_the_voxels_are_refused(data):
    with pytest.raises(GeometryError, match="one voxel grid"):
        data((6, 7, 8), (124, 230, 340))


@pytest.mark.parametrize(("objects", "kind"), [(300, np.int16), (40_000, np.int32)])
def test_a_source_is_the_same_slab_by_slab(objects, kind, monkeypatch):
    random = np.random.default_rng(0)
    raw = random.integers(0, 255, (100, 30, 40)).astype(np.uint8)
    labels = random.permutation(raw.size).reshape(raw.shape) % (objects + 1) * 10**6
    whole = make_source(raw, labels[5:90, 3:], True, low=(5, 3, 0))
    assert whole.mean == pytest.approx(raw.mean()) and whole.std == pytest.approx(raw.std())
    assert whole.labels.numpy().dtype == kind
    expected = np.full(raw.shape, -1)
    painted = expected[5:90, 3:]
    painted[...] = np.unique(labels[5:90, 3:], return_inverse=True)[1]  # 0 is the first: ids are 1..n
    painted[painted == 0] = -1
    np.testing.assert_array_equal(whole.labels, expected)
    monkeypatch.setattr("connectomics.training.sources._SLAB_VOXELS", 3000)
    slabs = make_source(raw, labels[5:90, 3:], True, low=(5, 3, 0))
    np.testing.assert_array_equal(slabs.labels, whole.labels)
    assert (slabs.mean, slabs.std) == pytest.approx((whole.mean, whole.std))


def test_skeletons_lie_where_the_voxels_of_the_file_say(data, tmp_path):
    data((6, 7, 8), (120, 230, 340))
    with h5py.File(tmp_path / "data.h5", "a") as file:  # 1% wider than the recipe says: still the same size
        file["raw"].attrs["resolution"] = (10, 10, 10.09)
    (tmp_path / "axon.swc").write_text(
        "".join(
            f"{k + 1} 0 {300 + 10.09 * (x + 0.5)} {200 + 105} {100 + 105} 0 {k or -1}\n"
            for k, x in enumerate(range(3, 28))
        )
    )
    volume = VolumeData(raw="data.h5/raw", skeletons="axon.swc")
    settings = DataSettings(root=str(tmp_path), voxel_size=(10, 10, 10), modality="em")
    (source,) = load_volumes(settings, [volume], TruthSettings(method="points"))
    assert np.unique(np.nonzero(source.traces > 0)[2]).tolist() == list(range(3, 28))


def test_minus_one_is_unlabelled_and_what_are_no_labels_is_refused():
    raw = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    labels = np.array([-1, 0, 7] * 9, np.int32).reshape(3, 3, 3)
    source = make_source(raw, labels, False)
    assert sorted(set(source.labels.ravel().tolist())) == [UNLABELLED, 0, 1]
    assert (source.labels.numpy()[labels == -1] == UNLABELLED).all()
    with pytest.raises(InputError, match="least is -5"):
        make_source(raw, labels * 5, False)
    with pytest.raises(InputError, match="float32; is it an image"):
        make_source(raw, labels.astype(np.float32), False)
