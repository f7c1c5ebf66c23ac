"""How an OME-Zarr asks to be shown is read; what makes no sense is passed over."""

import numpy as np
import pytest
import zarr

from connectomics.io.ome_display import Channel, Display, read_display
from connectomics.io.ome_zarr import create_array
from tests.conftest import VOXEL_SIZE


@pytest.fixture
def written(tmp_path):
    def write(**block):
        create_array(
            tmp_path / "a.zarr",
            "",
            shape=(2, 4, 4, 4),
            dtype=np.uint8,
            chunks=(4, 4, 4),
            voxel_size=VOXEL_SIZE,
            offset=(0, 0, 0),
            title="nerve",
        )
        group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
        group.attrs.update({"ome": {**group.attrs["ome"], **block}})
        return tmp_path / "a.zarr"

    return write


def test_names_colours_and_limits_of_channels(written):
    window = {"start": 10, "end": 200, "min": 0, "max": 255}
    channels = [{"label": "myelin", "color": "FF00AA", "window": window, "active": False}, {}]
    shown = read_display(written(omero={"channels": channels}))
    assert shown.name == "nerve" and shown.multiscale and not shown.labels
    assert shown.channels == (Channel("myelin", "#FF00AA", (10, 200), False), Channel())


@pytest.mark.parametrize(
    "omero", ["x", {"channels": 3}, {"channels": [3, {"color": "zz", "window": {"start": "a"}}]}]
)
def test_nonsense_says_nothing(written, omero):
    assert all(channel == Channel() for channel in read_display(written(omero=omero)).channels)


def test_colours_of_labels(written):
    colours = [{"label-value": 7, "rgba": [255, 0, 51, 255]}, {"rgba": [1, 2]}]
    shown = read_display(written(**{"image-label": {"colors": colours}}))
    assert shown.labels and shown.colours == {7: (1.0, 0.0, 0.2, 1.0)}


def test_the_label_images_inside_an_image(tmp_path):
    layout = {"shape": (4, 4, 4), "chunks": (4, 4, 4), "voxel_size": VOXEL_SIZE, "offset": (0, 0, 0)}
    create_array(tmp_path / "a.zarr", "", dtype=np.uint8, **layout)
    create_array(tmp_path / "a.zarr", "labels/cells", dtype=np.uint32, kind="label", **layout)
    assert read_display(tmp_path / "a.zarr").label_names == ("cells",)


def test_another_format_says_nothing(volume):
    assert read_display(volume) == Display()
