"""A layer of the package becomes what napari takes, centred where napari counts from."""

import numpy as np

from connectomics.pipeline.layer import UNIT_GRID, Layer
from connectomics.pipeline.layer_styles import STYLES
from connectomics.pipeline.layers import open_layers
from napari_connectomics.layer_data import in_voxels, layer_data, pieces


def test_a_volume_is_placed_by_the_centre_of_its_first_voxel(reviewed, drawing):
    made = {said["name"]: (data, said, kind) for data, said, kind in map(layer_data, open_layers(reviewed))}
    data, said, kind = made["segmentation"]
    assert (
        kind == "labels"
        and said["multiscale"]
        and [level.shape for level in data] == [(8, 24, 64), (8, 12, 32)]
    )
    assert said["scale"] == list(drawing.VOXEL_SIZE) and said["units"] == ("nm", "nm", "nm")
    assert said["translate"] == [o + v / 2 for o, v in zip(drawing.OFFSET, drawing.VOXEL_SIZE, strict=True)]
    assert made["affinities"][1]["rgb"] and made["affinities"][0][0].shape == (8, 24, 64, 3)
    assert made["EM"][1]["colormap"] == "gray"


def test_points_and_lines_are_counted_in_voxels():
    grid = ((20.0, 10.0, 10.0), (1000.0, 0.0, -500.0))
    centre_of_voxel = np.array([[1000.0 + 2.5 * 20, 35.0, -500.0 + 5]])
    assert in_voxels(centre_of_voxel, grid).tolist() == [[2.0, 3.0, 0.0]]
    kinds = {"kind": np.array(["split", "merge"])}
    points = np.repeat(centre_of_voxel, 2, axis=0)
    layer = Layer("errors", "errors", "x.csv", STYLES["errors"], points=points, features=kinds, grid=grid)
    data, said, kind = layer_data(layer)
    assert kind == "points" and data.tolist() == [[2.0, 3.0, 0.0]] * 2
    assert said["face_color"] == ["#ffb000", "#dc267f"] and said["scale"] == [20.0, 10.0, 10.0]


def test_a_line_is_cut_so_that_every_section_shows_its_part():
    lines = np.array([[[0.0, 0, 0], [3, 1, 0]], [[5, 5, 5], [5, 5, 5]]])
    cut, line = pieces(lines)
    assert line.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(cut[:3, 0, 0], [0, 1, 2])
    np.testing.assert_allclose(cut[2, 1], [3, 1, 0])


def test_skeletons_of_no_edge():
    layer = Layer("skeletons", "skeletons", "x", STYLES["skeletons"], features={"skeleton": np.zeros(0, int)})
    data, _, kind = layer_data(layer)
    assert data.shape == (0, 2, 3) and kind == "vectors" and layer.grid == UNIT_GRID
