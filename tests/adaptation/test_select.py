"""Choosing crops: apart from each other, in the region, on tissue; and a folder that training takes."""

import json

import numpy as np
import pytest

from connectomics.adaptation.todo import taken_boxes, to_toml
from connectomics.cli.main import run
from connectomics.errors import InputError, SettingsError
from connectomics.io.ome_zarr import open_array
from connectomics.io.opening import open_volume
from connectomics.io.volume import Volume
from connectomics.settings import read_toml
from connectomics.training.annotations import Crop, TodoList, annotated_volumes, read_todo, with_annotations
from connectomics.training.settings import TrainSettings
from connectomics.training.train import read_recipe
from tests.conftest import VOXEL_SIZE

STRATEGIES = ("median-uncertainty", "entropy", "core-set", "run-length", "random")


def corners(folder):
    todo = read_todo(folder)
    return [tuple(round(o / v) for o, v in zip(crop.offset, VOXEL_SIZE, strict=True)) for crop in todo.crops]


def paint(folder, labels, numbers):
    """Annotate some crops of a folder with the truth."""
    for number in numbers:
        crop = read_todo(folder).crops[number]
        low = corners(folder)[number]
        box = tuple(slice(a, a + n) for a, n in zip(low, crop.shape, strict=True))
        open_array(folder, crop.annotation).write_box((slice(None),) * 3, labels[box])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_crops_do_not_overlap_and_hold_what_the_volume_holds(strategy, annotate, cells):
    folder = annotate("--strategy", strategy, "--held-out", "1")
    todo = read_todo(folder)
    assert [crop.use for crop in todo.crops] == ["fit"] * 3 + ["validation"] and todo.strategy == strategy
    places = corners(folder)
    assert all(
        max(abs(a - b) for a, b in zip(one, two, strict=True)) >= 16
        for i, one in enumerate(places)
        for two in places[:i]
    )
    for crop, low in zip(todo.crops, places, strict=True):
        raw, empty = open_volume(folder / crop.raw), open_volume(folder / crop.annotation)
        first = [round(o / v) for o, v in zip(raw.offset, raw.voxel_size, strict=True)]
        box = tuple(slice(a, a + n) for a, n in zip(first, raw.shape, strict=True))
        np.testing.assert_array_equal(raw.read(), cells[box])
        assert first == [a - min(a, 4) for a in low], "context of the model's margin"
        assert empty.shape == (16, 16, 16) and not empty.read().any() and empty.offset == crop.offset
        proposal = open_volume(folder / crop.proposal).read()
        assert crop.proposed == pytest.approx((proposal > 0).mean()) and proposal.max() > 0
    fit = [crop.score for crop in todo.crops[:3]]
    assert strategy == "core-set" or fit == sorted(fit, reverse=True)


def test_strategies_differ(annotate):
    chosen = {s: tuple(corners(annotate("--strategy", s, name=s))) for s in ("entropy", "core-set", "random")}
    assert len(set(chosen.values())) > 1
    assert corners(annotate("--strategy", "random", "--seed", "1", name="r1")) != list(chosen["random"])
    assert corners(annotate("--strategy", "entropy", name="again")) == list(chosen["entropy"])


def test_no_crop_lies_where_nothing_is(images, models, tmp_path):
    line = f"adapt select {images}/half {tmp_path}/todo --model {models}/cells --crop 16 16 16 --quiet"
    assert run([*line.split(), "-n", "4", "--strategy", "random"]) == 0
    assert all(x < 32 for _, _, x in corners(tmp_path / "todo"))
    assert run([*line.replace("todo", "more").split(), "-n", "25", "--strategy", "random"]) == 2


def test_what_is_annotated_already_is_left_alone(annotate, images, models, tmp_path):
    first = annotate("--strategy", "random", count=20)
    second = annotate("--strategy", "random", "--exclude", str(first), name="second", count=20)
    assert not set(corners(first)) & set(corners(second))
    third = (
        f"adapt select {images}/cells {tmp_path}/third --model {models}/cells --crop 16 16 16 -n 20 --quiet"
    )
    assert run([*third.split(), "--exclude", str(first), "--exclude", str(second)]) == 2
    assert not (tmp_path / "third").exists()


def test_a_region_is_kept_to(annotate):
    folder = annotate("--roi-offset", "0", "320", "0", "--roi-size", "960", "320", "640")
    assert all(y >= 32 for _, y, _ in corners(folder))


def test_what_is_there_is_never_overwritten(annotate, images, models, capsys):
    folder = annotate()
    before = (folder / "todo.json").read_bytes()
    line = f"adapt select {images}/cells {folder} --model {models}/cells -n 1 --crop 16 16 16"
    assert run(line.split()) == 2
    assert "exists already" in capsys.readouterr().err and (folder / "todo.json").read_bytes() == before


def test_partly_done_folders_are_training_data(annotate, labels, tmp_path):
    folder = annotate("--held-out", "1")
    values = read_recipe(folder)
    settings = TrainSettings.parse(values)
    with pytest.raises(InputError, match="no crop to learn from is annotated yet"):
        with_annotations(settings)
    paint(folder, labels, [1])
    taken = with_annotations(settings)
    (volume,) = taken.data.volumes
    assert volume.raw == "crop-02.zarr/raw" and volume.background == "true" and volume.moments is not None
    assert taken.validation.volumes == () and taken.data.annotations == ()
    paint(folder, labels, [3])
    assert len(with_annotations(settings).validation.volumes) == 1
    (folder.parent / "moved").mkdir()
    moved = folder.rename(folder.parent / "moved" / "todo")
    assert read_recipe(moved)["data"]["root"] == str(moved), "a folder may be moved"
    assert len(with_annotations(TrainSettings.parse(read_recipe(moved))).data.volumes) == 1


@pytest.mark.parametrize("depth", [4, 8])
def test_a_crop_painted_in_part_is_no_background(annotate, labels, depth):
    folder = annotate(count=2)
    crop = read_todo(folder).crops[0]
    some = np.zeros(crop.shape, np.uint32)
    some[:depth] = 7
    open_array(folder, crop.annotation).write_box((slice(None),) * 3, some)
    paint(folder, labels, [1])
    first, second = annotated_volumes(folder).fit
    assert (first.background, second.background) == ("unlabelled", "true")
    mark_done(folder)
    assert [one.background for one in annotated_volumes(folder).fit] == ["true", "true"]


def mark_done(folder):
    values = json.loads((folder / "todo.json").read_text())
    for crop in values["crops"]:
        crop["done"] = True
    (folder / "todo.json").write_text(json.dumps(values))


def test_a_crop_without_objects_is_learnt_from_once_it_is_marked(annotate):
    folder = annotate("--held-out", "1", count=1)
    assert annotated_volumes(folder).fit == ()
    mark_done(folder)
    found = annotated_volumes(folder)
    assert [one.background for one in found.fit] == ["true"] and found.fit[0].labels is not None
    assert found.validation == (), "there is nothing to score in it"


def test_skeletons_alone_count(annotate):
    folder = annotate(count=2)
    crop = read_todo(folder).crops[1]
    (folder / crop.skeletons).mkdir()
    z, y, x = (o + 5 * v for o, v in zip(crop.offset, VOXEL_SIZE, strict=True))
    (folder / crop.skeletons / "1.swc").write_text(f"1 0 {x} {y} {z} 1 -1\n2 0 {x} {y} {z + 400} 1 1\n")
    found = annotated_volumes(folder)
    (volume,) = found.fit
    assert volume.labels is None and volume.skeletons == crop.skeletons and found.left == ("crop-01",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"crops": []}, "crops"),
        ({"colour": 1}, "colour"),
        ({"std": 0}, "std"),
        ({"format": "another"}, "format"),
    ],
)
def test_a_damaged_list_is_refused(change, why, annotate):
    folder = annotate(count=1)
    values = json.loads((folder / "todo.json").read_text())
    (folder / "todo.json").write_text(json.dumps(values | change))
    with pytest.raises(SettingsError, match=why):
        read_todo(folder)


def test_paths_stay_inside_the_folder(annotate):
    folder = annotate(count=1)
    values = json.loads((folder / "todo.json").read_text())
    values["crops"][0]["raw"] = "../secret.zarr/raw"
    (folder / "todo.json").write_text(json.dumps(values))
    with pytest.raises(SettingsError, match="inside the folder"):
        read_todo(folder)


def test_the_recipe_is_toml_whatever_is_in_it(tmp_path):
    values = {
        "text": 'a "quoted" \\ line',
        "table": {"list": [[1, 2], [3]], "inner": {"odd key": 0.5}},
        "yes": True,
    }
    (tmp_path / "a.toml").write_text(to_toml(values))
    assert read_toml(tmp_path / "a.toml") == values


@pytest.mark.parametrize("edge", [3.3, 33.0, 8.1])
def test_crops_that_are_taken_cover_their_own_voxels_alone(edge):
    volume = Volume(np.broadcast_to(np.uint8(0), (512,) * 3), (edge,) * 3, (0.0, 0.0, 0.0), "volume")
    for low in range(0, 448, 7):
        crop = {"name": "a", "raw": "a", "proposal": "a", "annotation": "a", "skeletons": "a", "score": 0.0}
        crop |= {"offset": [low * edge] * 3, "shape": (64,) * 3, "proposed": 0.0}
        todo = TodoList.model_construct(crops=(Crop.parse(crop),), voxel_size=(edge,) * 3)
        assert taken_boxes([todo], volume) == [(slice(low, low + 64),) * 3]
