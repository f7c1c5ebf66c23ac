"""What can be run on what, where the result goes, and how a run is put into words."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.pipeline.layers import open_layers
from connectomics.roi import Roi
from napari_connectomics import run_controller
from napari_connectomics.run_job import Step, Update


@pytest.fixture(scope="module")
def image(volume):
    (layer,) = open_layers(volume)
    return layer


def test_the_models_that_do_what_a_command_needs(image):
    names = {
        command: [one.name for one in run_controller.choices(command, image)]
        for command in run_controller.COMMANDS
    }
    assert "phantom-xnh" in names["segment"] and "xnh-to-em" in names["translate"]
    assert not set(names["segment"]) & set(names["translate"])
    assert not any(one.fits for one in run_controller.choices("segment", image) if one.name == "phantom-xnh")


def test_the_result_goes_beside_the_input_where_nothing_is_yet(image, volume, tmp_path):
    taken = {str(Path(volume).parents[2] / "cells-raw-segment.zarr")}
    first = run_controller.output_for("segment", image, lambda place: False)
    assert first in taken
    second = run_controller.output_for("segment", image, lambda place: str(place) in taken)
    assert second.endswith("cells-raw-segment-2.zarr")


def test_a_request_is_checked_before_it_starts(image):
    made = run_controller.request_for(
        "segment", image, "toy", "out.zarr", Roi((0, 0, 0), (10, 10, 10)), {"threshold": "0.4"}
    )
    assert made.words[:5] == ["segment", image.location, "out.zarr", "--model", "toy"]
    assert run_controller.shown_command(made).startswith("connectomics segment ")
    for broken, why in (
        ((None, "toy", "out.zarr", {}), "image"),
        ((image, " ", "out.zarr", {}), "model"),
        ((image, "toy", "", {}), "result"),
        ((image, "toy", "out.zarr", {"threshold": "x"}), "threshold"),
    ):
        layer, model, out, given = broken
        with pytest.raises(InputError, match=why):
            run_controller.request_for("segment", layer, model, out, None, given)


def test_a_voxel_size_that_the_viewer_was_told_is_told_to_the_run(tmp_path):
    for name in ("told", "stated"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["raw"] = np.arange(4096, dtype=np.uint8).reshape(16, 16, 16)
            if name == "stated":
                file["raw"].attrs["resolution"] = (40, 4, 4)
        (layer,) = open_layers(f"{tmp_path}/{name}.h5/raw", voxel_size=(40.0, 4.0, 4.0))
        words = run_controller.request_for("segment", layer, "toy", "out.zarr", None, {}).words
        assert (words[-4:] == ["--voxel-size", "40", "4", "4"]) is (name == "told")


@pytest.mark.parametrize(
    ("update", "said"),
    [
        (Update(True), "starting"),
        (Update(True, steps=(Step("affinities", 3, 8),)), "affinities: 3 of 8 blocks"),
        (Update(True, steps=(Step("a", 8, 8), Step("b", 1, 4, 1))), "b: 1 of 4 blocks, 1 failed"),
        (Update(False, 0), "done"),
        (Update(False, 130), "cancelled: run it again to go on where it stopped"),
        (Update(False, 2, message="error: no such model"), "no such model"),
        (
            Update(False, -9, message="affinities: 3 of 9 blocks, 20 s left"),
            "ended by signal 9 (out of memory?): run it again to go on where it stopped",
        ),
        (Update(False, 1, message="Fatal: bus"), "failed with exit code 1: Fatal: bus"),
        (Update(False, 1), "failed with exit code 1"),
    ],
)
def test_a_run_in_words(update, said):
    assert run_controller.say(update) == said


def test_the_settings_of_a_model_stand_in_the_form():
    assert run_controller.model_defaults("segment", "phantom-xnh")["threshold"] == 0.15
    assert run_controller.model_defaults("predict", "phantom-xnh") == {}


def test_the_result_may_go_to_a_bucket(image):
    assert run_controller.request_for("segment", image, "toy", " s3://lab/out.zarr ", None, {}).out == (
        "s3://lab/out.zarr"
    )
    here = run_controller.request_for("segment", image, "toy", "~/out.zarr", None, {}).out
    assert here == str(Path("~/out.zarr").expanduser())
