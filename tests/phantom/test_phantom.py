"""The phantom: exact block by block, seeded, connected, true skeletons, and frozen."""

import zlib

import cc3d
import numpy as np
import pytest

from connectomics.errors import GeometryError
from connectomics.phantom import xray
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.phantom.table import is_blank
from connectomics.roi import Roi

N = 80
WHOLE = (slice(-16, N - 16),) * 3
DIFFICULTIES = ("easy", "medium", "hard")

FROZEN = {
    "easy": (1804818927, 0.24486, (99.24, 29.23), (95.10, 56.49)),
    "medium": (4063569477, 0.81023, (149.20, 15.55), (160.85, 32.90)),
    "hard": (2181947605, 0.83028, (146.56, 18.74), (161.42, 36.87)),
}


def phantom(seed=0, **settings):
    return Phantom(PhantomSettings(seed=seed, **settings))


def cube(n):
    return (slice(0, n),) * 3


@pytest.mark.parametrize("what", ["labels", "xray", "em"])
@pytest.mark.parametrize(("seed", "difficulty"), [(3, "medium"), (7, "hard")])
def test_a_block_alone_equals_the_block_cut_from_the_whole(what, seed, difficulty):
    compute = getattr(phantom(seed, difficulty=difficulty), what)
    whole = compute(WHOLE)
    for corners in (
        ((3, 40), (7, 60), (0, 1)),
        ((30, 57), (-15, -2), (10, 61)),
        ((-16, 5), (33, 34), (4, 60)),
    ):
        box = tuple(slice(a, b) for a, b in corners)
        cut = tuple(slice(a + 16, b + 16) for a, b in corners)
        np.testing.assert_array_equal(compute(box), whole[cut])


def test_a_box_over_several_tiles_equals_its_parts():
    p = phantom(5)
    whole = p.labels((slice(0, 20), slice(0, 130), slice(0, 20)))
    np.testing.assert_array_equal(whole[:, 90:], p.labels((slice(0, 20), slice(90, 130), slice(0, 20))))


@pytest.mark.parametrize("what", ["labels", "xray", "em"])
def test_a_seed_is_repeatable_and_seeds_differ(what):
    a, b, c = (getattr(phantom(seed), what)(cube(40)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).mean() > 0.2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_labels_are_connected_and_hold_their_skeletons(seed, difficulty):
    p = phantom(seed, difficulty=difficulty)
    n, voxel = 96, p.settings.voxel_size
    labels = p.labels(cube(n))
    assert 0 < labels.max() < 2**53
    assert 0.2 < (labels > 0).mean() < 0.7
    pieces = cc3d.connected_components(labels)
    _, first, sizes = np.unique(pieces[labels > 0], return_index=True, return_counts=True)
    largest = {}
    for label, size in zip(labels[labels > 0][first], sizes, strict=True):
        largest[label] = max(size, largest.get(label, 0))
    assert sum(largest.values()) >= 0.97 * (labels > 0).sum()
    skeletons = p.skeletons(Roi((0, 0, 0), (n * voxel,) * 3))
    assert len(np.unique(skeletons.ids)) >= 3
    voxels = np.floor(skeletons.nodes / voxel).astype(int)
    np.testing.assert_array_equal(labels[tuple(voxels.T)], skeletons.ids.astype(np.uint64))
    ends = skeletons.nodes[skeletons.edges]
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    assert 250 < np.median(lengths) < 550
    assert (skeletons.ids[skeletons.edges[:, 0]] == skeletons.ids[skeletons.edges[:, 1]]).all()


def test_skeletons_moved_by_a_voxel_of_ten_leave_their_labels():
    p = phantom(0)
    labels, skeletons = p.labels(cube(96)), p.skeletons(Roi((0, 0, 0), (3168,) * 3))
    voxels = np.clip(np.floor(skeletons.nodes / 33).astype(int) + 10, 0, 95)
    assert (labels[tuple(voxels.T)] != skeletons.ids.astype(np.uint64)).mean() > 0.1


def test_myelin_is_darker_than_the_axons_inside():
    p = phantom(2, difficulty="easy")
    labels, box = p.labels(cube(64)), cube(64)
    for image in (p.xray(box), p.em(box)):
        assert image.dtype == np.uint8
        assert image[labels > 0].mean() > image[labels == 0].mean() + 20


def test_the_tissue_does_not_depend_on_the_voxel_size():
    fine, coarse = phantom(4).labels(cube(60)), phantom(4, voxel_size=99.0).labels(cube(20))
    np.testing.assert_array_equal(fine[1::3, 1::3, 1::3], coarse)


@pytest.mark.parametrize("density", [0.1, 0.5])
def test_density_is_the_share_of_chunks_that_an_axon_touches(density):
    rng = np.random.default_rng(0)
    touched = []
    for seed in range(3):
        p = phantom(seed, density=density)
        for corner in rng.integers(-400, 400, (60, 3)) * 32:
            touched.append(p.labels(tuple(slice(c, c + 32) for c in corner.tolist())).any())
    assert abs(np.mean(touched) - density) < 0.11
    assert not phantom(0, density=0.0).labels(cube(40)).any()


@pytest.mark.parametrize("box", [(slice(None),) * 3, (slice(0, 4, 2),) * 3, (slice(4, 0),) * 3])
def test_a_box_without_bounds_is_refused(box):
    with pytest.raises(GeometryError, match="box"):
        phantom().labels(box)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_version_1_has_not_drifted(difficulty):
    p, box = phantom(2000, difficulty=difficulty), (slice(0, 24), slice(30, 60), slice(7, 37))
    crc, fraction, xray, em = FROZEN[difficulty]
    labels = p.labels(box)
    assert zlib.crc32(labels.astype("<u8").tobytes()) == crc, (labels > 0).mean()
    assert (labels > 0).mean() == pytest.approx(fraction, abs=1e-4)
    for image, (mean, spread) in ((p.xray(box), xray), (p.em(box), em)):
        assert image.mean() == pytest.approx(mean, abs=0.1)
        assert image.std() == pytest.approx(spread, abs=0.1)


def test_tissue_without_fibres_takes_a_short_way_to_the_same_grey_values(monkeypatch):
    phantom = Phantom(PhantomSettings(seed=3, density=0.3))
    boxes = [(slice(0, 20), slice(k, k + 24), slice(100, 120)) for k in range(0, 1200, 300)]
    answers: list[bool] = []
    monkeypatch.setattr(xray, "is_blank", lambda table: answers.append(is_blank(table)) or answers[-1])
    short = [phantom.xray(box) for box in boxes]
    assert {True, False} == set(answers), "test invalid: it takes boxes of both kinds"
    monkeypatch.setattr(xray, "is_blank", lambda table: False)
    for box, found in zip(boxes, short, strict=True):
        np.testing.assert_array_equal(found, phantom.xray(box))
