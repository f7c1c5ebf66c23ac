"""What there is to see: an output opens as one set of layers, each with its place and its style."""

import json

import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.io.lazy import LazyArray
from connectomics.io.ome_zarr import create_array
from connectomics.io.place import as_place
from connectomics.io.pyramid import build_pyramid
from connectomics.io.skeletons import Skeletons, write_swc
from connectomics.pipeline.layer import on_one_grid
from connectomics.pipeline.layers import open_layers
from connectomics.pipeline.score import COLUMNS
from tests.conftest import VOXEL_SIZE

OFFSET = (200.0, 0.0, 50.0)
SHAPE = (16, 32, 32)


def write(group, name, array, **known):
    kind = "label" if name.startswith("labels/") else "image"
    made = create_array(
        group,
        name,
        shape=array.shape,
        dtype=array.dtype,
        chunks=(8, 16, 16),
        voxel_size=VOXEL_SIZE,
        offset=OFFSET,
        kind=kind,
        **known,
    )
    made.write_box(tuple(slice(0, n) for n in array.shape[-3:]), array)


@pytest.fixture
def phantom(tmp_path, cells):
    group = tmp_path / "phantom.zarr"
    write(group, "xray", cells[:16, :32, :32])
    write(group, "labels/truth", (cells[:16, :32, :32] > 110).astype(np.uint64))
    nodes = np.array([[210.0, 5.0, 55.0], [310.0, 105.0, 155.0]])
    write_swc(tmp_path / "phantom.skeletons", Skeletons(nodes, np.array([[0, 1]]), [3, 3], [np.nan] * 2))
    return group


@pytest.fixture
def output(tmp_path, phantom, cells):
    """What `segment` leaves, but for the tables."""
    group = tmp_path / "out.zarr"
    labels = (cells[:16, :32, :32] > 110).astype(np.uint64)
    write(group, "affinities", np.stack([cells[:16, :32, :32]] * 3), attributes={"offsets": [[-1, 0, 0]]})
    write(group, "uncertainty", cells[:16, :32, :32])
    for name in ("labels/fragments", "labels/segmentation", "scratch/fragments"):
        write(group, name, labels)
    build_pyramid(group, "labels/segmentation", 2)
    run = group / "ledger" / "segment" / "run.json"
    run.parent.mkdir(parents=True)
    run.write_text(json.dumps({"input": {"path": str(phantom / "xray")}}))
    return group


def found(layers):
    return {layer.name: layer for layer in layers}


def test_an_output_opens_as_one_set(output):
    layers = open_layers(output)
    names = [layer.name for layer in layers]
    assert names == ["image", "affinities", "uncertainty", "truth", "segmentation", "skeletons"]
    kinds = {layer.name: layer.kind for layer in layers}
    assert kinds["affinities"] == "rgb" and kinds["segmentation"] == "labels" and kinds["image"] == "image"
    visible = [layer.name for layer in layers if layer.style.visible]
    assert visible == ["image", "segmentation"]


def test_layers_lie_where_their_volumes_do(output):
    for layer in open_layers(output):
        if layer.volumes:
            assert layer.offset == OFFSET and layer.voxel_size == VOXEL_SIZE
        else:
            assert layer.grid == (VOXEL_SIZE, OFFSET)
    segmentation = found(open_layers(output))["segmentation"]
    assert [level.shape for level in segmentation.levels] == [(16, 32, 32), (16, 16, 16)]


def test_an_output_in_a_bucket_opens_alike(output, bucket):
    place = as_place(f"{bucket}/deep/out.zarr")
    for path in (path for path in output.rglob("*") if path.is_file()):
        (place / path.relative_to(output).as_posix()).write_bytes(path.read_bytes())
    here, there = open_layers(output), open_layers(f"{bucket}/deep/out.zarr")
    assert [(layer.name, layer.kind, layer.style) for layer in there] == [
        (layer.name, layer.kind, layer.style) for layer in here
    ]
    for one, other in zip(here, there, strict=True):
        for level, remote in zip(one.levels, other.levels, strict=True):
            np.testing.assert_array_equal(remote[..., 3:9, 20:30, 4:20], level[..., 3:9, 20:30, 4:20])


def test_nothing_but_a_sample_is_read(output, monkeypatch):
    read = []
    real = LazyArray._values
    monkeypatch.setattr(LazyArray, "_values", lambda self, index: read.append(self) or real(self, index))
    layers = open_layers(output)
    assert {array.volume.name.rpartition("/")[2] for array in read} <= {"xray", "uncertainty"}
    assert len(layers) == 6


def test_a_volume_without_coarser_levels_gets_one(output, cells):
    uncertainty = found(open_layers(output))["uncertainty"]
    fine, coarse = uncertainty.levels
    assert coarse.shape == (8, 16, 16)
    np.testing.assert_array_equal(np.asarray(coarse), np.asarray(fine)[::2, ::2, ::2])
    np.testing.assert_array_equal(coarse[3, 2:5], np.asarray(fine)[6, 4:10:2, ::2])
    affinities = found(open_layers(output))["affinities"]
    np.testing.assert_array_equal(affinities.levels[1][2], np.asarray(affinities.levels[0])[4, ::2, ::2])


def test_an_input_that_is_gone_is_left_out_and_said(output, phantom, caplog):
    phantom.rename(phantom.with_name("moved.zarr"))
    names = [layer.name for layer in open_layers(output)]
    assert names == ["affinities", "uncertainty", "segmentation"]
    assert "not shown" in caplog.text


def test_a_phantom_shows_its_truth(phantom):
    layers = found(open_layers(phantom))
    assert list(layers) == ["X-ray", "truth", "skeletons"]
    assert layers["truth"].style.visible and layers["truth"].kind == "labels"


def test_skeletons_are_lines_in_the_world(tmp_path, phantom):
    (layer,) = open_layers(tmp_path / "phantom.skeletons")
    assert sorted(layer.lines[0].tolist()) == [[210.0, 5.0, 55.0], [310.0, 105.0, 155.0]]
    assert layer.features["skeleton"].tolist() == [3]


def test_a_list_of_errors_is_points(tmp_path, output):
    row = ["split", 120.5, 210, 5, 55, 0, 0, 0, 3, 3, 1, 2]
    text = ",".join(COLUMNS) + "\n" + ",".join(str(one) for one in row) + "\n"
    (tmp_path / "errors.csv").write_text(text)
    (layer,) = open_layers(tmp_path / "errors.csv")
    assert layer.points.tolist() == [[210.0, 5.0, 55.0]]
    assert layer.features["kind"].tolist() == ["split"] and layer.features["segment_2"].tolist() == [2]
    (tmp_path / "out.errors.csv").write_text(text)
    assert open_layers(output)[-1].name == "errors"
    image = found(open_layers(output))["image"]
    assert on_one_grid([image, layer])[1].grid == (VOXEL_SIZE, OFFSET)


def test_a_damaged_list_of_errors_is_refused(tmp_path):
    (tmp_path / "errors.csv").write_text("kind,cost_nm,z_nm\nsplit,a,b\n")
    with pytest.raises(InputError, match="no list of errors"):
        open_layers(tmp_path / "errors.csv")


def test_any_other_volume(volume, tmp_path, cells):
    (image,) = open_layers(volume)
    assert image.kind == "image" and image.style.limits[0] < image.style.limits[1]
    write(tmp_path / "two.zarr", "", np.stack([cells[:16, :32, :32]] * 2))
    both = open_layers(tmp_path / "two.zarr")
    assert [layer.name for layer in both] == ["two 0", "two 1"]
    assert all(layer.style.blending == "additive" for layer in both)


def test_a_place_with_nothing_to_see_says_so(tmp_path):
    with pytest.raises(InputError, match="no such path"):
        open_layers(tmp_path / "nothing.zarr")
