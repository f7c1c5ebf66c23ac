"""Skeletons as truth: drawn into voxels, dilated to tubes, and followed along what a network found."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from connectomics.affinities import NEAREST
from connectomics.errors import InputError, SettingsError
from connectomics.io.skeletons import Skeletons, write_swc
from connectomics.networks.models import find_model
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.training.crops import Cropper
from connectomics.training.paint_over import paint_over
from connectomics.training.pseudo import pseudo_labels
from connectomics.training.settings import AugmentSettings, TrainSettings, TruthSettings
from connectomics.training.sources import make_source
from connectomics.training.targets import erode_borders
from connectomics.training.traces import CONTESTED, draw_traces
from connectomics.training.train import train
from connectomics.training.truth import renewed, with_skeletons
from connectomics.training.tubes import draw_tubes

SIZE = (20.0, 10.0, 10.0)


def _skeletons(*paths, ids=None):
    """One skeleton a path of (z, y, x) nm."""
    nodes = np.concatenate([np.asarray(path, float) for path in paths])
    first = np.cumsum([0] + [len(path) for path in paths])
    edges = [(a + i, a + i + 1) for a, path in zip(first, paths, strict=False) for i in range(len(path) - 1)]
    numbers = np.repeat(ids or np.arange(1, len(paths) + 1), [len(path) for path in paths])
    return Skeletons(nodes, np.array(edges).reshape(-1, 2), numbers, np.full(len(nodes), np.nan))


def _two_axons():
    """(8, 24, 40) image: two bright rows along x with a dark wall at y = 12, and a skeleton in each."""
    raw = np.full((8, 24, 40), 200, np.uint8)
    raw[:, 11:13] = 40
    return raw, _skeletons([(80, 55, 5), (80, 55, 395)], [(80, 185, 5), (80, 185, 395)])


def test_an_edge_is_drawn_without_gaps_and_cut_at_the_box():
    traces = draw_traces(_skeletons([(110, 205, 105), (110, 275, 405)]), (100, 200, 100), SIZE, (2, 6, 12))
    z, y, x = np.nonzero(traces)
    assert set(z) == {0} and list(x) == sorted(x) and set(x) == set(range(12))
    assert (np.diff(y[np.argsort(x, kind="stable")]) <= 1).all()


def test_axons_are_numbered_by_id_and_crossings_are_contested():
    crossing = _skeletons([(10, 5, 55), (10, 105, 55)], [(10, 55, 5), (10, 55, 105)], ids=[9, 4])
    traces = draw_traces(crossing, (0, 0, 0), SIZE, (1, 11, 11))
    assert traces[0, 0, 5] == 2 and traces[0, 5, 0] == 1 and traces[0, 5, 5] == CONTESTED


def test_nodes_outside_are_left_out_and_none_inside_is_said():
    raw, skeletons = _two_axons()
    source = make_source(raw + np.arange(40, dtype=np.uint8), None, True)
    far = _skeletons([(1e6, 0, 0), (1e6, 0, 100)])
    with pytest.raises(InputError, match="none passes through the volume"):
        with_skeletons(source, far, (0, 0, 0), SIZE, TruthSettings())
    with pytest.raises(InputError, match="there is no node"):
        with_skeletons(source, far.select(np.zeros(2, bool)), (0, 0, 0), SIZE, TruthSettings())
    both = Skeletons(
        np.concatenate((skeletons.nodes, far.nodes)),
        np.concatenate((skeletons.edges, far.edges + 4)),
        np.concatenate((skeletons.ids, [77, 77])),
        np.full(6, np.nan),
    )
    plain = draw_traces(skeletons, (0, 0, 0), SIZE, raw.shape)
    np.testing.assert_array_equal(draw_traces(both, (0, 0, 0), SIZE, raw.shape), plain)


@pytest.mark.parametrize("block", [16, 160])
def test_tubes_are_inside_their_axons_with_a_border_on_the_dark_wall(block, monkeypatch):
    monkeypatch.setattr("connectomics.training.tubes._BLOCK", block)
    raw, skeletons = _two_axons()
    labels = draw_tubes(draw_traces(skeletons, (0, 0, 0), SIZE, raw.shape), raw, SIZE, 25, 150)
    assert set(np.unique(labels)) == {-1, 0, 1, 2}
    assert (labels[4, 5] == 1).all() and (labels[4, 18] == 2).all()
    assert (np.nonzero(labels == 1)[1] < 11).all() and (np.nonzero(labels == 2)[1] > 12).all()
    assert set(np.nonzero(labels == 0)[1]) <= {11, 12} and (labels[4, 11:13] == 0).any(axis=0).all()


def test_there_is_no_border_where_the_image_shows_none():
    raw, skeletons = _two_axons()
    flat = np.full_like(raw, 200)
    flat[:, 0] = 201
    labels = draw_tubes(draw_traces(skeletons, (0, 0, 0), SIZE, raw.shape), flat, SIZE, 25, 150)
    assert (labels == 0).mean() < 0.02


def test_skeletons_that_run_together_are_not_believed_there():
    raw, _ = _two_axons()
    strayed = _skeletons([(80, 55, 5), (80, 55, 395)], [(80, 185, 5), (80, 65, 195), (80, 185, 395)])
    labels = draw_tubes(draw_traces(strayed, (0, 0, 0), SIZE, raw.shape), raw, SIZE, 25, 150)
    assert (labels[4, 4:8, 18:21] == -1).all()
    assert (labels[4, 5, :6] == 1).all() and (labels[4, 18, :4] == 2).all()


def _found(gap):
    """Affinities of the two axons, each in two pieces; the wall between them has a hole when `gap` is set."""
    affinities = np.full((3, 8, 24, 40), 250, np.uint8)
    affinities[:, :, 11:13] = 5
    affinities[2, :, :, 20] = 200
    if gap:
        affinities[:, :, 11:13, 30:36] = 250
    return affinities


def test_what_one_skeleton_runs_through_takes_its_number():
    raw, skeletons = _two_axons()
    traces = draw_traces(skeletons, (0, 0, 0), SIZE, raw.shape)
    traces[:, :, 12:] = 0  # the tracing stopped half-way: the rest is found by merging
    labels = pseudo_labels(_found(False), NEAREST, traces, SegmentationSettings())
    assert (labels[4, 5] == 1).mean() > 0.9 and (labels[4, 18] == 2).mean() > 0.9
    assert (labels[:, :10] != 2).all() and (labels[:, 14:] != 1).all()


def test_a_fragment_with_two_skeletons_stays_unknown():
    raw, skeletons = _two_axons()
    traces = draw_traces(skeletons, (0, 0, 0), SIZE, raw.shape)
    one = np.full((3, 8, 24, 40), 250, np.uint8)
    labels = pseudo_labels(one, NEAREST, traces, SegmentationSettings())
    both = [(labels[4, 5] == 1).mean(), (labels[4, 18] == 2).mean()]
    assert min(both) < 0.9 or (labels[4, 12] == -1).any()
    assert not ((labels[4, 5] == 2).any() or (labels[4, 18] == 1).any())


@pytest.mark.parametrize("certain", [True, False])
def test_what_the_network_itself_would_not_connect_is_not_named(certain):
    """A fragment reaches through the myelin beside its axon, where affinities are 0.5."""
    affinities = np.full((3, 8, 16, 32), 242, np.uint8)
    affinities[:, :, 6:9] = 242 if certain else 128
    traces = np.zeros(affinities.shape[1:], np.int16)
    traces[4, 3] = 1
    labels = pseudo_labels(affinities, NEAREST, traces, SegmentationSettings())
    assert (labels[:, :5] == 1).all()
    assert (labels[:, 6:9] == (1 if certain else -1)).all()
    affinities[:, :, 6:9] = 5
    assert (pseudo_labels(affinities, NEAREST, traces, SegmentationSettings())[:, 6:9] == 0).all()


def test_doubt_beside_another_name_leaves_the_border_between_them():
    raw, skeletons = _two_axons()
    traces = draw_traces(skeletons, (0, 0, 0), SIZE, raw.shape)
    affinities = np.full((3, *raw.shape), 242, np.uint8)
    affinities[:, :, 11:13] = 60  # less than sure, so that fragments meet there
    labels = pseudo_labels(affinities, NEAREST, traces, SegmentationSettings())
    assert set(np.unique(labels[:, 10:14])) >= {1, 2}
    apart = erode_borders(torch.from_numpy(labels), 1)
    assert (apart[4] == 0).any(dim=0).all(), "every path from one to the other crosses a known border"


def test_painted_voxels_and_skeletons_share_the_crops():
    raw, skeletons = _two_axons()
    painted = np.zeros(raw.shape, np.uint8)
    painted[:, 2:9, :8] = 5
    source = make_source(raw, painted, True, proportion=2.0)
    sources = with_skeletons(source, skeletons, (0, 0, 0), SIZE, TruthSettings(painted_share=0.25, radius=25))
    assert [s.proportion for s in sources] == [0.5, 1.5]
    share = min(0.5, max(0.1, float((painted > 0).mean())))
    usual = with_skeletons(source, skeletons, (0, 0, 0), SIZE, TruthSettings(radius=25))
    assert [s.proportion for s in usual] == pytest.approx([2 * share, 2 - 2 * share]) and 0.1 <= share < 0.5
    assert (sources[0].labels[painted > 0] == 1).all() and sources[0].traces is None
    split = renewed(sources, [np.zeros(raw.shape, np.int32)], 0.8)
    assert [round(s.proportion, 6) for s in split] == [0.5, 0.3, 1.2]
    assert torch.equal(split[1].labels, sources[1].labels) and not split[2].labels.any()


def _overlaid(painted: np.ndarray, traces: np.ndarray) -> np.ndarray:
    """Tubes one voxel wide with the paint over them."""
    return paint_over(np.where(traces > 0, traces, -1), painted, traces)


def test_a_painted_object_has_the_number_of_its_skeleton_on_both_sides_of_the_paint():
    traces, painted = np.zeros((3, 9, 40), np.int16), np.full((3, 9, 40), -1, np.int16)
    traces[1, 2], traces[1, 6] = 1, 2
    painted[:, :, :8] = 0
    painted[:, 1:4, :8], painted[:, 5:8, :8] = 9, 4
    labels = _overlaid(painted, traces)
    assert (labels[:, 1:4, :8] == 1).all() and (labels[1, 2] == 1).all()
    assert (labels[:, 5:8, :8] == 2).all() and (labels[1, 6] == 2).all()
    assert (labels[:, 0, :8] == 0).all()
    assert (labels[:, :, 8:] == np.where(traces > 0, traces, -1)[:, :, 8:]).all()


def test_a_skeleton_at_odds_with_the_paint_is_unknown_around_it():
    traces, painted = np.zeros((3, 9, 40), np.int16), np.full((3, 9, 40), -1, np.int16)
    painted[:, 1:4, :10], painted[:, 5:8, :10] = 1, 2
    traces[1, 2, :5], traces[1, 6, 5:] = 1, 1  # crosses from one object to the other
    assert (_overlaid(painted, traces)[:, :, 10:] == -1).all()
    traces[:] = 0
    traces[1, 2], traces[1, 5, 9], traces[1, 7] = 1, 1, 2  # one misplaced node of eleven
    assert (_overlaid(painted, traces)[1, 2, 10:] == 1).all()
    traces[:] = 0
    painted[:, 5:8, :10] = 0
    traces[1, 1], traces[1, 3, 4:] = 1, 2  # two skeletons in one object: the longer one is its own
    labels = _overlaid(painted, traces)
    assert (labels[1, 1, 10:] == 1).all() and not (labels == 2).any()
    assert (labels[:, 1:4, :10] == 1).all()


def test_a_skeleton_in_painted_background_is_unknown_and_owns_nothing():
    traces, painted = np.zeros((3, 9, 40), np.int16), np.full((3, 9, 40), -1, np.int16)
    painted[:, :, :10] = 0
    painted[:, 1:4, :10] = 1
    traces[1, 6], traces[1, 2, 5:], traces[1, 3, 4] = 1, 2, 1  # skeleton 1 nicks the object of skeleton 2
    labels = _overlaid(painted, traces)
    assert (labels[:, 1:4, :10] == 2).all() and (labels[1, 2, 10:] == 2).all()
    assert (labels[1, 6, 10:] == -1).all() and (labels[1, 6, :10] == 0).all()


def test_tubes_beside_a_painted_object_without_a_skeleton_are_unknown():
    traces, painted = np.zeros((3, 40, 60), np.int32), np.full((3, 40, 60), -1, np.int32)
    painted[:, :10, :30] = 6  # a sliver of the axon whose skeleton runs just outside the paint
    traces[1, 12], traces[1, 30] = 40000, 7
    labels = _overlaid(painted, traces)
    assert (labels[:, :10, :30] > 40000).all()
    assert (labels[1, 12, :30] == -1).all() and (labels[1, 12, 46:] == 40000).all()
    assert (labels[1, 30] == 7).all()


@pytest.mark.parametrize("rare_objects", [0.0, 1.0])
def test_crops_of_a_part_are_centred_where_it_says(rare_objects):
    labels = np.ones((32, 32, 96), np.int16)
    labels[:, :, 48:] = 2
    raw = np.broadcast_to(np.arange(96, dtype=np.uint8), labels.shape)
    part = replace(make_source(raw, labels, False), centres=((0, 32), (0, 32), (20, 30)))
    plain = AugmentSettings(
        flips=False, rotate=0, scale=0, elastic=0, contrast=0, brightness=0, gamma=0, noise=0, blur=0
    )
    cropper = Cropper([part], (8, 8, 9), 1, plain, SIZE, 0, rare_objects)
    images = [cropper.batch(step)[0][0, 0, 4, 4, 4] for step in range(40)]
    middles = [round(float(image) * part.std + part.mean) for image in images]
    assert min(middles) >= 20 and max(middles) < 30 and len(set(middles)) > 3


def test_crops_are_centred_in_the_paint_and_have_tubes_around_it():
    raw, skeletons = _two_axons()
    painted = np.full(raw.shape, -1, np.int16)
    painted[:, 2:9, :8] = 5
    source = make_source(raw, painted, False)
    part = with_skeletons(source, skeletons, (0, 0, 0), SIZE, TruthSettings(radius=25))[0]
    assert part.centres == ((0, 8), (2, 9), (0, 8))
    assert (part.labels[:, 2:9, :8] == 1).all() and (part.labels[4, 18] == 2).all()
    bare = with_skeletons(source, skeletons, (0, 0, 0), SIZE, TruthSettings(method="points"))[0]
    assert (bare.labels[painted < 0] == -1).all()


@pytest.fixture
def traced(toy, cells, tmp_path):
    """The toy run, with the cells' own centre lines in place of their painted voxels."""
    import h5py

    with h5py.File(cells) as file:
        labels = file["labels"][:30]
    paths = []
    for number in np.unique(labels):
        z, y, x = np.nonzero(labels == number)
        middles = [(10 * k + 5, 10 * y[z == k].mean() + 5, 10 * x[z == k].mean() + 5) for k in np.unique(z)]
        paths.append(middles)
    write_swc(tmp_path / "traced", _skeletons(*paths))
    values = json.loads(toy.model_dump_json())
    volume = values["data"]["volumes"][0]
    volume |= {"labels": None, "skeletons": str(tmp_path / "traced")}
    values["targets"]["lsd"] = False
    values["truth"] = {"radius": 15, "reach": 60}
    return values


@pytest.mark.parametrize(
    ("method", "loss"),
    [("tubes", {"cldice": 0.2}), ("points", {"maximin": 1.0}), ("pseudo", {})],
)
def test_every_method_trains_from_skeletons_alone(traced, tmp_path, method, loss):
    traced["truth"] |= {"method": method, "rounds": 2}
    traced["loss"] |= loss
    model = find_model(train(TrainSettings.parse(traced), tmp_path / "run"))
    assert model.contract.scores["validation_balanced_accuracy"] > 0.5
    assert (tmp_path / "run" / "pseudo-2.npz").exists() == (method == "pseudo")


def test_an_interrupted_run_takes_up_its_rounds(traced, tmp_path, monkeypatch):
    from connectomics.training import callbacks, rounds

    traced["truth"] |= {"method": "pseudo", "rounds": 2}
    settings = TrainSettings.parse(traced)

    class Stopped(RuntimeError):
        pass

    def stop(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 17:  # resumed from step 16, after the first round, before the second
            raise Stopped

    whole = train(settings, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Validation, "on_train_batch_end", stop)
        with pytest.raises(Stopped):
            train(settings, tmp_path / "broken")
    used, taken = [], rounds.Rounds._use

    def use(self, module, number, labels):
        used.append(number)
        taken(self, module, number, labels)

    monkeypatch.setattr(rounds.Rounds, "_use", use)
    again = train(settings, tmp_path / "broken")
    assert used == [1, 2]
    assert (whole / "weights.safetensors").read_bytes() == (again / "weights.safetensors").read_bytes()


def test_descriptors_are_refused_with_skeletons(traced, tmp_path):
    traced["targets"]["lsd"] = True
    with pytest.raises(SettingsError, match="lsd = false"):
        train(TrainSettings.parse(traced), tmp_path / "run")


def test_a_volume_without_any_truth_is_refused(traced):
    traced["data"]["volumes"][0]["skeletons"] = None
    with pytest.raises(SettingsError, match="give labels, skeletons or both"):
        TrainSettings.parse(traced)
