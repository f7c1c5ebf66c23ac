"""Cascades on regions, volumes and models that fit badly: what is called, computed, resumed and refused."""

import json
import pickle
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from connectomics.blockwise.grid import Grid
from connectomics.cascade.settings import Cascade
from connectomics.cascade.timing import recorded_costs
from connectomics.cli.main import run
from connectomics.inference.settings import InferenceSettings
from connectomics.io.opening import open_volume
from connectomics.pipeline import cascade_stage, network_stage
from connectomics.pipeline.chunk_scoring import PASSED, level_maps
from connectomics.pipeline.input import open_input
from connectomics.pipeline.selection import Selection
from connectomics.pipeline.settings import RegionSettings
from tests.conftest import VOXEL_SIZE, save_translator

SHAPE = (37, 70, 150)
REGION = {"roi_offset": (100.0, 90.0, 410.0), "roi_size": (540.0, 570.0, 830.0)}
BOX = (slice(5, 32), slice(9, 66), slice(41, 124))
OPTIONS = ["--engine", "torch", "--quiet"]


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A bright rod along y, a bright ball, noise; edges that are multiples of nothing, no level stored."""
    image = np.random.default_rng(0).normal(40, 5, SHAPE)
    z, y, x = np.indices(SHAPE)
    image[((z - 20) ** 2 + (x - 60) ** 2 < 25) & (y > 20)] = 235
    image[(z - 30) ** 2 + (y - 60) ** 2 + (x - 140) ** 2 < 36] = 235
    path = tmp_path_factory.mktemp("sparse") / "rod.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=image.clip(0, 255).astype(np.uint8))
        data.attrs["resolution"], data.attrs["offset"] = VOXEL_SIZE, (0.0, 0.0, 0.0)
    return f"{path}/raw"


def cascade_of(levels=(1, 3), threshold=1.0, modality="em", chunk=(8, 8, 8), **detector) -> Cascade:
    detector = {"method": "bright", "smooth": 0, "share": 0.01} | detector
    rates = {"threshold": threshold, "sensitivity": 1.0, "false_positive_rate": 0.0, "seconds": 1e-6}
    return Cascade.parse(
        {
            "name": "rod",
            "modality": modality,
            "voxel_size": VOXEL_SIZE,
            "chunk": chunk,
            "levels": [{"detector": {"level": level} | detector} | rates for level in levels],
            "fine_seconds": 0.02,
            "dense_seconds": 0.02,
            "promise": {},
            "objects": 100,
            "lost": 0,
        }
    )


def written(folder, cascade: Cascade) -> str:
    path = folder / "rod.json"
    path.write_text(json.dumps(cascade.model_dump(mode="json")))
    return str(path)


def region_options() -> list[str]:
    return [
        text for name, values in REGION.items() for text in (f"--{name.replace('_', '-')}", *map(str, values))
    ]


def predict(volume, out, model, *more) -> np.ndarray:
    command = ["predict", volume, str(out), "--model", str(model), "--tile", "32", *OPTIONS, *more]
    assert run(command) == 0
    return open_volume(f"{out}/prediction", channels=True).read()


def test_chunks_called_are_those_that_meet_the_region(volume, model):
    given = open_input(volume, str(model), RegionSettings(**REGION), False)
    fine, coarse = level_maps(given, cascade_of())
    # voxels of 20 x 10 x 10 nm: level 1 is (1, 2, 2), level 3 (4, 8, 8) times as coarse
    assert (fine.level.factor, coarse.level.factor) == ((1, 2, 2), (4, 8, 8))
    for where in (fine, coarse):
        edge = np.array(where.level.factor) * 8
        inside = where.wanted(tuple(slice(0, n) for n in where.shape))
        for index in np.ndindex(*where.shape):
            low = (np.array(index) + where.low) * edge
            meets = all(a < s.stop and a + e > s.start for a, e, s in zip(low, edge, BOX, strict=True))
            assert inside[index] == meets
    assert not fine.wanted(tuple(slice(0, n) for n in fine.shape)).all()  # else the test says little


@pytest.mark.parametrize("levels", [(1, 3), (2,)])
def test_a_region_is_computed_where_chunks_pass_and_as_without_a_cascade(volume, model, tmp_path, levels):
    path = written(tmp_path, cascade_of(levels))
    some = predict(volume, tmp_path / "s.zarr", model, "--cascade", path, *region_options())
    full = predict(volume, tmp_path / "f.zarr", model, *region_options())
    computed = some.any(axis=0)
    np.testing.assert_array_equal(some[:, computed], full[:, computed])
    verdicts = open_volume(f"{tmp_path}/s.zarr/cascade/predict/level_{levels[0]}")
    passed = np.argwhere(verdicts.read() == PASSED)
    wanted = np.zeros(some.shape[1:], bool)
    for index in passed:  # the voxels of the chunks that passed, in the region
        low = np.array(verdicts.offset) + index * verdicts.voxel_size - REGION["roi_offset"]
        spans = [
            slice(max(0, round(a / v)), max(0, round((a + e) / v)))
            for a, e, v in zip(low, verdicts.voxel_size, VOXEL_SIZE, strict=True)
        ]
        wanted[tuple(spans)] = True
    assert wanted.any()
    assert not (full.any(axis=0) & wanted & ~computed).any()
    assert 0 < computed.mean() < 1
    doubt = open_volume(f"{tmp_path}/s.zarr/uncertainty").read()
    assert not doubt[~computed].any()


def test_a_plan_for_a_region_counts_its_chunks_alone(volume, tmp_path, monkeypatch):
    monkeypatch.setattr("connectomics.pipeline.cascade.measured_costs", lambda one, *_: recorded_costs(one))
    path, report = written(tmp_path, cascade_of()), tmp_path / "plan.json"
    command = ["cascade", "plan", volume, "--cascade", path, "--json", str(report), "--quiet"]
    assert run([*command, *region_options()]) == 0
    part = json.loads(report.read_text())
    assert run(command) == 0
    whole = json.loads(report.read_text())
    assert [one["chunks"] for one in part["levels"]] == [4 * 8 * 11, 4 * 5 * 6, 1 * 2 * 2]
    assert whole["levels"][0]["chunks"] == 5 * 9 * 19
    assert part["seconds"] < whole["seconds"]
    slow_start = partial(replace, start=7.0)
    monkeypatch.setattr(
        "connectomics.pipeline.cascade.measured_costs", lambda one, *_: slow_start(recorded_costs(one))
    )
    assert run(command) == 0
    assert json.loads(report.read_text())["seconds"] == pytest.approx(whole["seconds"] + 7)
    # no level is stored: a coarse chunk is averaged from finest voxels
    calls = [one["calls"] for one in whole["levels"]]
    assert whole["gigabytes_read"] * 1e9 == pytest.approx(512 * np.dot(calls, [1, 4, 256]))


def test_where_nothing_passes_everything_is_empty(volume, model, tmp_path):
    path = written(tmp_path, cascade_of(threshold=1e6))
    command = ["segment", volume, str(tmp_path / "o.zarr"), "--model", str(model), "--cascade", path]
    assert run([*command, "--json", str(tmp_path / "r.json"), *OPTIONS]) == 0
    assert not open_volume(f"{tmp_path}/o.zarr/labels/segmentation").read().any()
    assert json.loads((tmp_path / "r.json").read_text())["tiles_computed"] == 0


def test_a_translation_is_written_where_chunks_pass(volume, tmp_path):
    translator = save_translator(tmp_path / "translator")
    path = written(tmp_path, cascade_of((1,), modality="xray"))
    out = {}
    for name, more in (("some", ["--cascade", path]), ("full", [])):
        command = ["translate", volume, f"{tmp_path}/{name}.zarr", "--model", str(translator)]
        assert run([*command, "--tile", "32", "--samples", "1", *OPTIONS, *more]) == 0
        out[name] = open_volume(f"{tmp_path}/{name}.zarr/em").read()
    assert out["some"].shape == (37, 140, 300)
    computed = out["some"] > 0
    assert 0 < computed.mean() < 0.8
    np.testing.assert_array_equal(out["some"][computed], out["full"][computed])


def test_axons_are_followed_however_long(monkeypatch):
    grid, computed = Grid((8, 8, 8 * 200), (8, 8, 8)), []
    chooser = SimpleNamespace(
        first=lambda grid: np.array([0]),
        called_back=lambda done, new, name: new + 1 if new[-1] < 199 else new[:0],
    )
    target = SimpleNamespace(has_affinities=True, products=[SimpleNamespace(name="affinities")])
    found = network_stage._follow(chooser, grid, target, lambda blocks: computed.append(len(blocks)))
    assert found.numbers.tolist() == list(range(200))
    assert computed == list(range(1, 201))


def test_a_selection_knows_its_voxels_and_travels_light():
    rng = np.random.default_rng(0)
    grid = Grid((20, 33, 47), (8, 8, 8), (3, 0, 5))
    chosen = Selection(grid, np.sort(rng.choice(len(grid), 30, replace=False)))
    voxels = np.zeros(grid.shape, bool)
    for number in chosen.numbers:
        voxels[grid[int(number)].box] = True
    light = len(pickle.dumps(chosen))
    for _ in range(50):
        low = [int(rng.integers(0, n)) for n in grid.shape]
        box = tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(low, grid.shape, strict=True))
        np.testing.assert_array_equal(chosen.mask(box), voxels[box])
        assert chosen.empty(box) == (not voxels[box].any())
    assert len(pickle.dumps(chosen)) == light  # the map stays here
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(chosen)).map, chosen.map)


@pytest.mark.parametrize(("most", "edge"), [(10**9, 128), (100**3, 64), (1, 32)])
def test_tiles_are_no_larger_than_the_memory_holds(volume, model, most, edge):
    class Stub:
        settings = InferenceSettings()
        cost = SimpleNamespace(allows=lambda voxels, memory: voxels <= most)

        def lattice(self, shape):
            return SimpleNamespace(largest=(self.settings.tile + 16) ** 3)

    given = open_input(volume, str(model), RegionSettings(), False)
    found = cascade_stage.small_tiles(Stub(), given, cascade_of((4,), chunk=(32, 32, 32)), 32)
    assert found.tile == edge


def test_the_weights_of_a_detector_are_part_of_what_a_run_is(volume, model):
    given = open_input(volume, str(model), RegionSettings(), False)
    classical = given.identity("predict", InferenceSettings(), cascade_of())
    network = given.identity(
        "predict", InferenceSettings(), cascade_of((1,), method="model", model=str(model))
    )
    assert "detectors" not in classical
    assert network["detectors"] == [given.model.sha256]
