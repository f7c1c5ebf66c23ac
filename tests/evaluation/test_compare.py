"""Evaluate whole volumes: regions, masks, block sizes, and inputs that do not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from connectomics.errors import GeometryError, InputError
from connectomics.evaluation import compare
from connectomics.evaluation.compare import evaluate
from connectomics.evaluation.volumes import VoiTable
from connectomics.io.skeletons import Skeletons
from connectomics.io.volume import Volume
from connectomics.roi import Roi

SIZE = (40.0, 10.0, 10.0)


def labels(seed, shape=(12, 14, 16), high=5):
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.uint32)


def placed(array, offset=(0.0, 0.0, 0.0), size=SIZE, name="volume"):
    return Volume(array, size, offset, name)


def expected(segmentation, truth, mask=None):
    table = VoiTable()
    table.add(segmentation, truth, mask)
    return table.scores()


@pytest.mark.parametrize("block", [(5, 5, 5), (12, 3, 16), (64, 64, 64)])
def test_every_block_size_gives_exactly_the_whole(block, monkeypatch):
    monkeypatch.setattr(compare, "BLOCK", block)
    segmentation, truth, mask = labels(0), labels(1).astype(np.uint8), labels(2, high=2)
    got = evaluate(placed(segmentation), placed(truth), mask=placed(mask))
    assert got == expected(segmentation, truth, mask)
    assert got != expected(segmentation, truth), "test invalid"


def test_the_common_region_is_compared():
    #  segmentation  z 0..12     truth  z 4..16
    segmentation, truth = labels(3), labels(4)
    got = evaluate(placed(segmentation), placed(truth, (160.0, 0.0, 0.0)))
    assert got == expected(segmentation[4:], truth[:8])


def test_a_region_is_cut_out_of_all_inputs():
    segmentation, truth, mask = labels(5), labels(6), labels(7, high=2)
    roi = Roi((80, 20, 30), (160, 100, 100))
    box = np.s_[2:6, 2:12, 3:13]
    got = evaluate(placed(segmentation), placed(truth), mask=placed(mask), roi=roi)
    assert got == expected(segmentation[box], truth[box], mask[box])


def test_inputs_that_do_not_fit_are_refused():
    segmentation = placed(labels(8), name="seg")
    cases = [
        (placed(labels(9), size=(40.0, 10.0, 12.0), name="true"), "true has voxels of .* seg of"),
        (placed(labels(9), (0.0, 5.0, 0.0), name="true"), "true: offset .* not on the voxel grid"),
        (placed(labels(9), (4000.0, 0.0, 0.0), name="true"), "seg and true share no voxel"),
    ]
    for truth, message in cases:
        with pytest.raises(GeometryError, match=message):
            evaluate(segmentation, truth)
    with pytest.raises(GeometryError, match="does not lie inside"):
        evaluate(segmentation, placed(labels(9)), roi=Roi((0, 0, 0), (4000, 10, 10)))
    with pytest.raises(GeometryError, match="not on the voxel grid"):
        evaluate(segmentation, placed(labels(9)), roi=Roi((3, 0, 0), (40, 10, 10)))
    with pytest.raises(InputError, match="integer labels, got float32"):
        evaluate(segmentation, placed(labels(9).astype(np.float32)))
    with pytest.raises(InputError, match="3 channels"):
        evaluate(placed(np.zeros((3, 12, 14, 16), np.uint8)), segmentation)


def test_worst_and_json():
    got = evaluate(placed(labels(10)), placed(labels(11)), worst=3)
    assert len(got["worst"]) == 3
    json.dumps(got, allow_nan=False)


class Told:
    """Notes what it is told."""

    def __init__(self):
        self.calls = []

    def start(self, step, total, done, unit="blocks"):
        self.calls.append(("start", total))

    def advance(self, step, units=1):
        self.calls.append(("advance", units))

    def finish(self, step):
        self.calls.append(("finish", 0))


def test_progress_counts_the_blocks(monkeypatch):
    monkeypatch.setattr(compare, "BLOCK", (6, 14, 16))
    told = Told()
    evaluate(placed(labels(12)), placed(labels(13)), progress=told)
    assert told.calls == [("start", 2), ("advance", 1), ("advance", 1), ("finish", 0)]


def two_axons():
    """Axons along x at y = 15 nm and y = 95 nm, nodes in the middle of every second voxel."""
    nodes = np.array([(20.0, y, 5 + 20.0 * i) for y in (15.0, 95.0) for i in range(8)])
    edges = np.array([(i, i + 1) for i in range(15) if i != 7])
    return Skeletons(nodes, edges, np.repeat([1, 2], 8), np.full(16, np.nan))


def striped(shape=(12, 14, 16)):
    segmentation = np.ones(shape, np.uint64)
    segmentation[:, 7:] = 2**60
    return segmentation


def test_skeleton_truth():
    assert evaluate(placed(striped()), two_axons()) == {
        "erl_nm": 140.0,
        "nerl": 1.0,
        "n_truth": 2,
        "n_segments": 2,
    }
    broken = striped()
    broken[:, 7:, 8:] = 5
    got = evaluate(placed(broken), two_axons(), worst=1)
    assert got["nerl"] == pytest.approx((140**2 + 60**2 + 60**2) / (2 * 140**2))
    assert got["worst"][0]["position_nm"] == [20.0, 95.0, 75.0]


def test_skeletons_are_cropped_to_the_region_and_the_mask():
    got = evaluate(placed(striped()), two_axons(), roi=Roi((0, 0, 0), (480, 140, 80)))
    assert got["erl_nm"] == 60.0
    mask = np.zeros((12, 14, 16), np.uint8)
    mask[:, :7] = 1
    got = evaluate(placed(striped()), two_axons(), mask=placed(mask))
    assert (got["n_truth"], got["n_segments"], got["nerl"]) == (1, 1, 1.0)


def test_skeletons_in_micrometres_raise_doubt(caplog):
    """Where a volume begins at 0 they all lie in its first voxel, and score well."""
    traced = two_axons()
    evaluate(placed(striped()), traced)
    assert not caplog.records
    evaluate(placed(striped()), replace(traced, nodes=traced.nodes / 1000))
    assert "are the positions in micrometres?" in caplog.text


def test_a_comparison_with_nothing_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(compare, "BLOCK", (6, 14, 16))
    segmentation, none = placed(striped()), placed(np.zeros((12, 14, 16), np.uint8), name="none")
    half = np.zeros((12, 14, 16), np.uint8)
    half[:, 7:] = 1
    lower, upper = placed(half, name="lower"), placed(1 - half, name="upper")
    cases = [
        (none, None, r"^none: the truth has no label but 0.* \(480.0, 140.0, 160.0\) nm"),
        (none, lower, r"^none: the truth has no label .* where the mask lower is not 0"),
        (lower, none, "^none: the mask is 0 everywhere"),
        (lower, upper, "^lower: the truth has no label .* where the mask upper"),
        (two_axons(), none, "^none: the mask is 0 at every skeleton node"),
        (Skeletons([], [], [], []), None, "hold no node"),
    ]
    for truth, mask, message in cases:
        with pytest.raises(InputError, match=message):
            evaluate(segmentation, truth, mask=mask)
    assert evaluate(segmentation, lower, mask=lower)["voi_sum"] == 0
    with pytest.raises(InputError, match=r"no skeleton node .* \(4000.0, 0.0, 0.0\).* \[20.0, 15.0, 5.0\]"):
        evaluate(placed(striped(), (4000.0, 0.0, 0.0)), two_axons())
