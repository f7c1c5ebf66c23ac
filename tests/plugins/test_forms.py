"""The form has one field a knob of the command, and makes the words of the command line."""

import pytest

from connectomics.cli.segment import segment
from connectomics.cli.translate import translate
from connectomics.errors import SettingsError
from connectomics.segmentation.settings import SegmentationSettings
from napari_connectomics.forms import arguments, command_line, knobs_of


@pytest.fixture(scope="module")
def knobs():
    return {knob.name: knob for knob in knobs_of(segment)}


def test_every_knob_of_the_settings_is_there_with_its_help(knobs):
    for name, field in SegmentationSettings.model_fields.items():
        assert knobs[name].group == "Segmentation"
        assert knobs[name].help == " ".join(field.description.split())
    assert knobs["linkage"].choices == ("mean", "median", "percentile90", "percentile95")
    assert knobs["threshold"].default == "0.5" and knobs["block"].many
    assert knobs["keep_affinities"].kind == "flag" and knobs["keep_affinities"].help.startswith("Keep the")
    assert "samples" in {knob.name for knob in knobs_of(translate)}


def test_what_the_dock_sees_to_itself_is_left_out(knobs):
    assert not {"volume", "out", "model", "roi_offset", "voxel_size", "json_file"} & set(knobs)


def test_only_what_was_filled_in_becomes_words(knobs):
    given = {
        "threshold": "0.4",
        "keep_affinities": True,
        "rescale": False,
        "block": " 64 64  32",
        "device": "",
    }
    words = arguments(list(knobs.values()), given)
    assert words == ["--keep-affinities", "--threshold", "0.4", "--block", "64", "64", "32"]
    assert arguments(list(knobs.values()), {"cascade": "my cascade.json"}) == ["--cascade", "my cascade.json"]
    assert command_line(["segment", "my volume.zarr"]) == "connectomics segment 'my volume.zarr'"


def test_what_the_model_switches_on_can_be_switched_off(knobs):
    assert knobs["long_range"].choices == ("yes", "no")
    for value, words in (("", []), ("yes", ["--long-range"]), ("no", ["--no-long-range"])):
        assert arguments(list(knobs.values()), {"long_range": value}) == words


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [("threshold", "4", "less than or equal to 1"), ("block", "64 64", "block"), ("memory", "2GBx", "8GB")],
)
def test_a_value_that_does_not_fit_is_refused(knobs, name, value, why):
    with pytest.raises(SettingsError, match=why):
        arguments(list(knobs.values()), {name: value})
