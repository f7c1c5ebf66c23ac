"""Each loss of a comparison of label volumes gets the place where its two largest parts meet."""

import numpy as np

from connectomics.evaluation.compare import evaluate
from connectomics.evaluation.places import places_of_losses
from connectomics.io.volume import Volume

SIZE, OFFSET = (20.0, 10.0, 10.0), (100.0, 0.0, 0.0)


def volumes():
    """Truth 1 lies over truth 2; segment 7 holds both to the left (a merge), 8 and 9 the rest (splits)."""
    truth = np.zeros((4, 8, 40), np.uint64)
    truth[:, :4], truth[:, 4:] = 1, 2
    found = np.full(truth.shape, 7, np.uint64)
    found[:, :4, 30:], found[:, 4:, 26:] = 8, 9
    return (Volume(array, SIZE, OFFSET, name) for array, name in ((found, "found"), (truth, "truth")))


def test_splits_and_merges_where_their_parts_meet():
    found, truth = volumes()
    worst = evaluate(found, truth, worst=10)["worst"]
    places = dict(
        zip(
            [(loss["kind"], loss["label"]) for loss in worst],
            places_of_losses(worst, found, truth),
            strict=True,
        )
    )
    assert set(places) == {("split", 1), ("split", 2), ("merge", 7)}
    assert places["split", 1][2] == 300.0 and 0 < places["split", 1][1] < 40
    assert places["split", 2][2] == 260.0 and 40 < places["split", 2][1] < 80
    assert places["merge", 7][1] == 40.0 and places["merge", 7][2] < 300


def test_what_is_not_there_has_no_place():
    found, truth = volumes()
    lost = {"kind": "split", "label": 99, "bits": 1.0, "parts": [{"id": 1}, {"id": 2}]}
    alone = {"kind": "split", "label": 1, "bits": 1.0, "parts": [{"id": 7}]}
    assert places_of_losses([lost, alone], found, truth) == [None, None]


def test_a_part_whose_other_lies_elsewhere_gets_a_voxel_of_its_own(monkeypatch):
    monkeypatch.setattr("connectomics.evaluation.places.BLOCK", (4, 8, 10))
    found, truth = volumes()
    loss = {"kind": "split", "label": 1, "bits": 1.0, "parts": [{"id": 7}, {"id": 8}]}
    ((_, y, x),) = places_of_losses([loss], found, truth)
    assert x > 300 and y < 40
