"""Errors are seen more: found where a drawn segmentation errs, drawn at a stated share, also when resumed."""

import json
import shutil

import numpy as np
import pytest
import torch

from connectomics.networks.checkpoint import load_network
from connectomics.networks.models import find_model
from connectomics.training import callbacks
from connectomics.training.crops import Cropper
from connectomics.training.hard_places import Places, find_places
from connectomics.training.settings import AugmentSettings, TrainSettings
from connectomics.training.sources import make_source
from connectomics.training.train import train

SIZE = (10.0, 10.0, 10.0)
PLAIN = AugmentSettings(flips=False, rotate=0, elastic=0, contrast=0, brightness=0, gamma=0, noise=0, blur=0)


def _drawn():
    """Three axons along x, walls of background between them, as truth, segmentation and affinities.

    ::

        y 0-9    1 1 1 1 1 1 | 1 1 1 1      segment 11 up to x = 24, then 12
        y 10-11  (wall)                     a hole at x = 34..37, through which segment 12 holds axon 2
        y 12-21  2 2 2 2 2 2 2 2 2 2        segment 12
        y 22-23  (wall)
        y 24-31  3 3 3 3 3 3 3 3 3 3        segment 13: right
    """
    truth = np.zeros((8, 32, 48), np.int32)
    truth[:, :10], truth[:, 12:22], truth[:, 24:] = 1, 2, 3
    segmentation = np.zeros(truth.shape, np.uint64)
    segmentation[:, :10, :24], segmentation[:, :10, 24:] = 11, 12
    segmentation[:, 12:22], segmentation[:, 24:] = 12, 13
    segmentation[:, 10:12, 34:38] = 12
    affinities = np.full((3, *truth.shape), 250, np.uint8)
    affinities[:, segmentation == 0] = 5
    affinities[2, :, :10, 24] = 20
    return truth, segmentation, affinities


def _traced(truth):
    """A line of voxels along each axon, as `draw_traces` leaves it."""
    traces = np.zeros_like(truth)
    traces[4, 5], traces[4, 17], traces[4, 28] = 1, 2, 3
    traces[4, 5, 20:30], traces[5, 6, 20:30] = 0, 1  # it steps aside by an edge: its voxels touch by corners
    return traces


@pytest.mark.parametrize("kind", ["painted", "traced"])
def test_a_split_and_a_merge_are_found_where_they_are(kind):
    truth, segmentation, affinities = _drawn()
    places = find_places(segmentation, truth if kind == "painted" else _traced(truth), affinities, SIZE)
    merges, splits = places.voxels[places.merges], places.voxels[~places.merges]
    assert len(merges) and len(splits)
    assert ((merges[:, 1] >= 9) & (merges[:, 1] <= 12)).all()  # between axons 1 and 2
    assert ((merges[:, 2] >= 33) & (merges[:, 2] <= 38)).all()  # and not elsewhere along their wall
    assert (splits[:, 1] < 10).all() and (abs(splits[:, 2] - 23.5) <= 1).all()


def test_a_split_across_a_gap_is_found():
    truth, segmentation, affinities = _drawn()
    segmentation[segmentation == 12] = 14
    segmentation[:, :12, 22:26] = 0
    places = find_places(segmentation, truth, affinities, SIZE)
    assert not places.merges.any() or (places.voxels[places.merges, 1] < 12).all()
    assert (abs(places.voxels[~places.merges, 2] - 23.5) <= 1).all()


def test_errors_weigh_by_the_voxels_they_concern():
    truth, segmentation, affinities = _drawn()
    places = find_places(segmentation, truth, affinities, SIZE)
    part, other = 8 * 10 * 24, 8 * 10 * 48
    assert places.weights[~places.merges].sum() == pytest.approx(part)  # two halves of axon 1
    assert places.weights[places.merges].sum() == pytest.approx(
        (part * other) ** 0.5
    )  # one of them and axon 2


def test_what_is_right_has_no_places_and_neither_have_trifles():
    truth, _, affinities = _drawn()
    assert len(find_places(truth.astype(np.uint64), truth, affinities, SIZE)) == 0
    aside = truth.astype(np.uint64)
    aside[:2, 12, 20:24] = 1  # a few voxels of axon 2 taken by segment 1
    assert len(find_places(aside, truth, affinities, SIZE)) == 0
    assert len(find_places(np.zeros_like(aside), truth, affinities, SIZE)) == 0


def test_nothing_is_placed_where_nothing_is_known():
    truth, segmentation, affinities = _drawn()
    truth[:, 10:12] = -1  # the merge is there, but what should be there nobody knows
    truth[:, :, 34:38] = -1
    places = find_places(segmentation, truth, affinities, SIZE)
    assert (truth[tuple(places.voxels.T)] >= 0).all()


def _cropper():
    """A source in which the value of a voxel says where it is along x."""
    x = np.broadcast_to(np.arange(200, dtype=np.uint8), (24, 24, 200))
    source = make_source(x, np.ones(x.shape, np.uint8), True)
    return Cropper([source], (8, 8, 8), 1, PLAIN, SIZE, 3), source


def _middles(cropper, source, count=300):
    images = (cropper.batch(step)[0] for step in range(count))
    return np.array([float(image.mean() * source.std + source.mean) for image in images])


def test_crops_come_from_hard_places_at_the_stated_share():
    cropper, source = _cropper()
    places = Places(
        np.array([[12, 12, 50], [12, 12, 150]], np.int32), np.array([1.0, 3.0]), np.zeros(2, bool)
    )
    before = _middles(cropper, source)
    cropper.revisit({0: places}, 0.6)
    middles = _middles(cropper, source)
    near = [(abs(middles - x) <= 2.6).mean() for x in (50, 150)]
    assert sum(near) == pytest.approx(0.6, abs=0.1)
    assert near[1] > 2 * near[0]
    assert sum((abs(before - x) <= 2.6).mean() for x in (50, 150)) < 0.15, "test invalid"


@pytest.mark.parametrize("places", [{}, {0: Places.joined([])}, {1: Places.joined([])}])
def test_without_errors_nothing_changes(places):
    cropper, source = _cropper()
    before = _middles(cropper, source, 20)
    cropper.revisit(places, 0.6)
    np.testing.assert_array_equal(_middles(cropper, source, 20), before)


@pytest.fixture
def mined(toy):
    values = json.loads(toy.model_dump_json())
    values["mining"] = {"share": 0.5, "every": 6, "edge": 24, "boxes": 2}
    return TrainSettings.parse(values)


def test_a_run_looks_for_errors_and_keeps_what_it_found(mined, toy, tmp_path):
    train(mined, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").glob("hard-*")) == [
        f"hard-{step}.npz" for step in (12, 18, 6)
    ]
    with np.load(tmp_path / "run/hard-18.npz") as kept:
        voxels, weights = kept["voxels0000"], kept["weights0000"]
    assert len(voxels) == len(weights) > 0 and (weights > 0).all()
    assert (voxels >= 0).all() and (voxels < (30, 40, 40)).all()
    plain = find_model(train(toy, tmp_path / "plain"))
    assert plain.sha256 != find_model(tmp_path / "run/model").sha256


def test_a_resumed_run_sees_the_same_errors(mined, tmp_path, monkeypatch):
    whole = find_model(train(mined, tmp_path / "whole"))

    class Stopped(RuntimeError):
        pass

    def stop(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 15:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Validation, "on_train_batch_end", stop)
        with pytest.raises(Stopped):
            train(mined, tmp_path / "broken")  # the checkpoint is of step 8, the last look of step 12
    shutil.copytree(tmp_path / "broken", tmp_path / "forgotten")
    again = load_network(find_model(train(mined, tmp_path / "broken"))).state_dict()
    expected = load_network(whole).state_dict()
    assert all(torch.equal(expected[name], again[name]) for name in expected)
    for path in (tmp_path / "forgotten").glob("hard-*.npz"):
        path.unlink()
    other = load_network(find_model(train(mined, tmp_path / "forgotten"))).state_dict()
    assert not all(torch.equal(expected[name], other[name]) for name in expected), "test invalid"
