"""The uncertainty that `predict` and `segment` write: what the contract's tables say, whatever the blocks."""

import shutil

import numpy as np
import pytest
import zarr

from connectomics.cli.main import run
from connectomics.inference.predictor import affine_for
from connectomics.io.opening import open_volume
from connectomics.io.tables import read_table
from connectomics.networks.contract import read_contract, write_contract
from connectomics.networks.models import find_model
from connectomics.pipeline import uncertainty_stage
from connectomics.segmentation.agglomeration import agglomerate
from connectomics.segmentation.calibration import COUNTS_KEY, EDGE_KEY, RANGE_KEYS, VOXEL_KEYS, Calibration
from connectomics.segmentation.edge_features import FEATURES, Surroundings, edge_features
from connectomics.segmentation.region_graph import RegionGraph
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.uncertainty import (
    calibrated_edge_uncertainty,
    edge_uncertainty,
    voxel_uncertainty,
)
from connectomics.segmentation.whole import fragment_graph

SETTINGS = {"boundary_threshold": 0.5, "max_distance": 8, "grow": 2, "min_object": 5, "grey_penalty": 2.0}
NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


@pytest.fixture(scope="module")
def tables():
    random = np.random.default_rng(0)
    voxels = {key: np.sort(random.random(256)).round(4).tolist() for key in VOXEL_KEYS}
    return voxels | {
        EDGE_KEY: random.normal(0, 0.3, 1 + len(FEATURES)).round(3).tolist(),
        RANGE_KEYS[0]: [-4.0] * len(FEATURES),
        RANGE_KEYS[1]: [9.0] * len(FEATURES),
        COUNTS_KEY: [100.0, 50.0, 10.0],
    }


@pytest.fixture(scope="module")
def calibrated(model, tables, tmp_path_factory):
    """The toy model with a calibration, made up, and the settings that belong to it."""
    folder = tmp_path_factory.mktemp("calibrated") / "toy"
    shutil.copytree(model, folder)
    contract = read_contract(folder / "contract.json")
    values = {"calibration": tables, "segmentation": SETTINGS}
    write_contract(folder / "contract.json", contract.model_copy(update=values))
    return folder


def segmented(volume, out, model, *more):
    arguments = ["segment", str(volume), str(out), "--model", str(model), "--engine", "torch"]
    assert run([*arguments, "--keep-affinities", *more]) == 0
    return out


@pytest.fixture(scope="module")
def clean(volume, calibrated, tmp_path_factory):
    out = tmp_path_factory.mktemp("clean") / "out.zarr"
    return segmented(volume, out, calibrated, "--block", "32", "32", "32")


def graph_of(out):
    return {
        name: read_table(out, f"region_graph/{name}") for name in ("edges", "mean", "std", "size", "p_wrong")
    }


def says(out, name):
    """Whether a map, or a table of the region graph, is called calibrated."""
    if "/" in name:
        return zarr.open_array(f"{out}/{name}", mode="r").attrs["calibrated"]
    return open_volume(f"{out}/{name}").attributes["calibrated"]


def test_edges_are_judged_as_in_one_piece(clean, tables, volume, calibrated):
    affinities = open_volume(f"{clean}/affinities", channels=True).read()
    settings = SegmentationSettings(**SETTINGS)
    raw = open_volume(volume)
    image = affine_for(find_model(calibrated).contract, raw.read_box, raw.shape).apply(raw.read())
    fragments, graph = fragment_graph(affinities, NEAREST, settings, image)
    sizes = np.bincount(fragments.ravel().astype(np.int64))
    segment = agglomerate(graph, len(sizes) - 1, settings.linkage, settings.threshold).lut(settings.threshold)
    around = Surroundings(sizes, segment)
    around.add(graph.edges, graph.mean, graph.size)
    features = edge_features(graph.edges, graph.mean, graph.std, graph.size, around, graph.penalty)
    found = graph_of(clean)
    expected = calibrated_edge_uncertainty(features, Calibration.parse(tables).edges)
    np.testing.assert_array_equal(found["p_wrong"], expected)
    assert graph.penalty.max() > 0.05, "test invalid: all fragments are equally grey"
    plain = edge_uncertainty(found["mean"], settings.threshold)
    assert np.abs(expected - plain).max() > 0.1, "test invalid: the calibration changes nothing"
    assert len(expected) > 50 and says(clean, "region_graph/p_wrong") is True


def test_voxels_are_judged_by_the_tables(clean, tables):
    affinities = open_volume(f"{clean}/affinities", channels=True).read()
    found = open_volume(f"{clean}/uncertainty").read()
    np.testing.assert_array_equal(found, voxel_uncertainty(affinities, Calibration.parse(tables).voxels))
    assert (found != voxel_uncertainty(affinities)).any(), "test invalid"
    assert says(clean, "uncertainty") is True


def test_block_size_changes_nothing(clean, volume, calibrated, tmp_path, monkeypatch):
    monkeypatch.setattr("connectomics.pipeline.edge_judgement.CHUNK", 37)
    out = segmented(volume, tmp_path / "out.zarr", calibrated, "--block", "64", "96", "96")
    for name, table in graph_of(clean).items():
        np.testing.assert_array_equal(table, graph_of(out)[name], err_msg=name)
    np.testing.assert_array_equal(
        open_volume(f"{clean}/uncertainty").read(), open_volume(f"{out}/uncertainty").read()
    )


def test_other_settings_are_used_but_not_called_calibrated(clean, volume, calibrated, tmp_path):
    out = segmented(volume, tmp_path / "out.zarr", calibrated, "--threshold", "0.9")
    assert says(out, "region_graph/p_wrong") is False and says(out, "uncertainty") is True
    assert len(graph_of(out)["p_wrong"]) == len(graph_of(clean)["p_wrong"])
    assert (graph_of(out)["p_wrong"] != graph_of(clean)["p_wrong"]).any()  # other decisions were taken


def test_without_tables_the_network_is_taken_at_its_word(volume, model, tmp_path):
    out = segmented(volume, tmp_path / "out.zarr", model)
    found = graph_of(out)
    np.testing.assert_array_equal(found["p_wrong"], edge_uncertainty(found["mean"], 0.5))
    assert says(out, "region_graph/p_wrong") is False and says(out, "uncertainty") is False


def test_the_spread_of_an_edge_by_hand():
    #        10, 20, 30 on one edge: variance 200 / 3
    sums = (np.array([n], np.int64) for n in (3, 60, 1400))
    graph = RegionGraph(np.array([[1, 2]], np.uint64), *sums)
    assert graph.std == pytest.approx(np.sqrt(200 / 3) / 255)


def predicted(volume, out, model):
    return run(["predict", str(volume), str(out), "--model", str(model), "--engine", "torch"])


def test_predict_writes_what_the_tables_say(volume, model, calibrated, tables, tmp_path, capsys):
    maps = {}
    for name, chosen, table in (("with", calibrated, tables), ("without", model, None)):
        out = tmp_path / f"{name}.zarr"
        assert predicted(volume, out, chosen) == 0
        prediction = open_volume(f"{out}/prediction", channels=True)
        doubt = open_volume(f"{out}/uncertainty")
        maps[name] = doubt.read()
        expected = voxel_uncertainty(prediction.read(), Calibration.parse(table).voxels)
        np.testing.assert_array_equal(maps[name], expected)
        assert (doubt.voxel_size, doubt.offset) == (prediction.voxel_size, prediction.offset)
        assert says(out, "uncertainty") is (table is not None)
    assert (maps["with"] != maps["without"]).any()


def test_predict_goes_on_where_the_uncertainty_failed(volume, calibrated, tmp_path, monkeypatch, capsys):
    def fail(affinities, connected):
        raise MemoryError("out of luck")

    out = tmp_path / "out.zarr"
    monkeypatch.setattr(uncertainty_stage, "voxel_uncertainty", fail)
    assert predicted(volume, out, calibrated) == 1
    assert "out of luck" in capsys.readouterr().err
    network = {path: path.stat().st_mtime_ns for path in (out / "ledger/predict/prediction").rglob("*.json")}
    assert network
    monkeypatch.undo()
    assert predicted(volume, out, calibrated) == 0
    assert network == {path: path.stat().st_mtime_ns for path in network}  # the network ran once
    assert open_volume(f"{out}/uncertainty").read().any()


@pytest.mark.parametrize("order", [("segment", "predict"), ("predict", "segment")])
def test_a_segmentation_and_a_prediction_share_an_output(volume, model, calibrated, clean, tmp_path, order):
    """Each keeps its own map: the prediction here is of another model, which calls other voxels doubtful."""
    both, alone = tmp_path / "both.zarr", tmp_path / "alone.zarr"
    assert predicted(volume, alone, model) == 0
    for command in (*order, *order):  # once more: both are complete
        if command == "segment":
            segmented(volume, both, calibrated)
        else:
            assert predicted(volume, both, model) == 0
    parts = [(clean, "labels/segmentation", "labels/segmentation"), (clean, "uncertainty", "uncertainty")]
    parts += [(alone, "prediction", "prediction"), (alone, "uncertainty", "prediction_uncertainty")]
    for out, name, there in parts:
        expected = open_volume(f"{out}/{name}", channels=True).read()
        np.testing.assert_array_equal(open_volume(f"{both}/{there}", channels=True).read(), expected)
    assert (open_volume(f"{both}/uncertainty").read() != expected).any()
    assert run(["predict", str(volume), str(both), "--model", str(calibrated), "--overwrite"]) == 0
    assert says(both, "prediction_uncertainty") and (both / "labels/segmentation").exists()
    found = open_volume(f"{both}/uncertainty").read()
    np.testing.assert_array_equal(found, open_volume(f"{clean}/uncertainty").read())


def test_affinities_to_voxels_outside_the_volume_are_0_and_those_outside_a_region_are_not(
    volume, model, tmp_path
):
    """Inside a region they are what they are in the whole volume."""
    region = ["--roi-offset", "240", "80", "130", "--roi-size", "640", "320", "320"]
    for name, more in (("whole", []), ("part", region)):
        line = ["predict", str(volume), str(tmp_path / name), "--model", str(model), "--engine", "torch"]
        assert run([*line, *more]) == 0
    whole, part = (open_volume(f"{tmp_path / name}/prediction", channels=True) for name in ("whole", "part"))
    found, inner = whole.read(), part.read()
    low = [round((a - b) / v) for a, b, v in zip(part.offset, whole.offset, whole.voxel_size, strict=True)]
    assert min(low) > 0
    box = tuple(slice(a, a + n) for a, n in zip(low, inner.shape[1:], strict=True))
    np.testing.assert_array_equal(inner, found[(slice(None), *box)])
    for axis in range(3):
        face = np.moveaxis(found[axis], axis, 0)
        assert not face[0].any() and face[1].any()
        assert np.moveaxis(inner[axis], axis, 0)[0].any()
