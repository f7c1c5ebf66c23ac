"""Dropped on the window, a volume or an output opens as layers, each over its place in the world."""

import numpy as np
import pytest

from connectomics.io.ome_zarr import create_array
from connectomics.io.pyramid import build_pyramid
from connectomics.io.skeletons import write_swc
from napari_connectomics.reader import get_reader

NAME = "xray-connectomics"


def test_an_output_opens_as_one_set(viewer, reviewed, drawing, shoot):
    write_swc(reviewed.with_suffix(".skeletons"), drawing.traced())
    viewer.open(str(reviewed), plugin=NAME)
    names = [layer.name for layer in viewer.layers]
    assert names == ["EM", "affinities", "segmentation", "skeletons"]
    kinds = [type(layer).__name__ for layer in viewer.layers]
    assert kinds == ["Image", "Image", "Labels", "Vectors"]
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.scale, drawing.VOXEL_SIZE)
        np.testing.assert_allclose(
            layer.translate, np.array(drawing.OFFSET) + np.array(drawing.VOXEL_SIZE) / 2
        )
        assert {str(unit) for unit in layer.units} == {"nanometer"}
    assert [step.step for step in viewer.dims.range] == list(drawing.VOXEL_SIZE)
    assert viewer.layers["affinities"].rgb and not viewer.layers["affinities"].visible
    shoot("open")
    viewer.dims.ndisplay = 3
    shoot("open-3d")


def test_formats_of_others(viewer, volume, tmp_path, shoot):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.arange(8 * 16 * 16, dtype=np.uint16).reshape(8, 16, 16),
        imagej=True,
        resolution=(100, 100),
        metadata={"spacing": 0.02, "unit": "um", "axes": "ZYX"},
    )
    assert get_reader(str(tmp_path / "nothing.tif")) is None and get_reader(str(tmp_path)) is None
    for place in (str(tmp_path / "a.tif"), volume):
        viewer.layers.clear()
        for data, said, kind in get_reader(place)(place):
            getattr(viewer, f"add_{kind}")(data, **said)
        assert len(viewer.layers) == 1 and viewer.layers[0].multiscale
    shoot("open-hdf5")


def test_what_cannot_be_opened_is_said_in_one_line(tmp_path, plugin):
    broken = tmp_path / "broken.zarr"
    broken.mkdir()
    (broken / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.zarr") as told:
        get_reader(str(broken))(str(broken))
    assert "\n" not in str(told.value)


LOW, EDGE = (0, 1232, 800), 16
"""First voxel and edge of a white square, whole voxels at every level; the node is its middle."""


@pytest.fixture
def white_square(tmp_path):
    path = tmp_path / "node.zarr"
    layout = {"chunks": (1, 512, 512), "voxel_size": (33.0, 33.0, 33.0), "offset": (66.0, -990.0, 330.0)}
    made = create_array(path, "", shape=(1, 2048, 2048), dtype=np.uint8, **layout)
    y, x = (slice(low, low + EDGE) for low in LOW[1:])
    made.write_box((slice(0, 1), y, x), np.full((1, EDGE, EDGE), 255, np.uint8))
    build_pyramid(path, "", 3)
    return path, np.array(layout["offset"]) + (np.array(LOW) + np.array([0.5, EDGE / 2, EDGE / 2])) * 33.0


def middle_of_white(viewer):
    """Middle of what is white, in canvas pixels from the middle of the canvas, and its edge."""
    canvas = viewer.screenshot(canvas_only=True, flash=False)[..., 0].astype(float)
    white = np.argwhere(canvas > 100) + 0.5
    return (white - np.array(canvas.shape) / 2).mean(axis=0), np.sqrt(len(white))


def test_a_node_lies_over_its_voxels_at_every_level(viewer, white_square, qtbot):
    path, node = white_square
    viewer.open(str(path), plugin=NAME)
    layer = viewer.layers[0]
    layer.contrast_limits, layer.interpolation2d = (0, 255), "nearest"
    np.testing.assert_allclose(layer.world_to_data(node), (0, 1239.5, 807.5))
    seen = set()
    for pixels in (4.0, 0.25, 0.125):  # a voxel of the finest level
        viewer.camera.center, viewer.camera.zoom = tuple(node[1:]), pixels / 33
        qtbot.wait(50)
        seen.add(layer.data_level)
        off, width = middle_of_white(viewer)
        assert width == pytest.approx(EDGE * pixels, abs=1) and np.abs(off).max() <= 1
    assert len(seen) > 1, "one level alone was drawn"
    viewer.camera.zoom = 4 / 33
    for level in (
        (1, 2) if hasattr(layer, "locked_data_level") else ()
    ):  # so that a coarse voxel is many pixels
        layer.locked_data_level = level
        qtbot.wait(50)
        off, width = middle_of_white(viewer)
        assert (
            layer.data_level == level and width == pytest.approx(EDGE * 4, abs=1) and np.abs(off).max() <= 1
        )
