"""A folder of crops to annotate, as an annotator works through it."""

import json

import numpy as np
import pytest

from connectomics.errors import InputError, NoSpaceError
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.volume import Volume
from connectomics.proofreading.annotating import AnnotationFolder
from connectomics.training.annotations import TODO, annotated_volumes

SHAPE, WHOLE = (8, 10, 12), (slice(None),) * 3


def write_folder(folder, count=3):
    """What `adapt select` writes, of noise; the proposals hold two objects."""
    folder.mkdir()
    crops = []
    for number in range(1, count + 1):
        name, place = (
            f"crop-{number}",
            {"voxel_size": (30.0, 10.0, 10.0), "offset": (300.0 * number, 0.0, 50.0)},
        )
        proposal = np.zeros(SHAPE, np.uint32)
        proposal[:4], proposal[4:, 2:] = 1, 2
        values = {
            "raw": np.random.default_rng(number).integers(0, 255, SHAPE).astype(np.uint8),
            "labels/proposal": proposal,
            "labels/annotation": np.zeros(SHAPE, np.uint32),
        }
        for part, array in values.items():
            kind = "label" if part.startswith("labels") else "image"
            made = create_array(
                folder / f"{name}.zarr",
                part,
                shape=SHAPE,
                dtype=array.dtype,
                chunks=(8, 8, 8),
                kind=kind,
                **place,
            )
            made.write_box(WHOLE, array)
        crop = {"name": name, "raw": f"{name}.zarr/raw", "skeletons": f"{name}.skeletons"}
        crop |= {part.split("/")[1]: f"{name}.zarr/{part}" for part in values if "/" in part}
        crop |= {"offset": place["offset"], "shape": SHAPE, "score": 1.0, "proposed": 0.9}
        crops.append(crop | {"use": "validation" if number == count > 1 else "fit"})
    said = {"volume": "v", "model": "m", "strategy": "random", "modality": "em", "mean": 1.0, "std": 2.0}
    said |= {"voxel_size": (30.0, 10.0, 10.0), "crops": crops}
    (folder / TODO).write_text(json.dumps(said))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "todo")


def on_disk(folder, name="crop-1"):
    return open_array(folder / f"{name}.zarr", "labels/annotation").read()


def test_what_is_painted_is_saved_learnt_from_and_counted(folder):
    crops = AnnotationFolder(folder)
    assert [state.state for state in crops.states()] == ["to do"] * 3
    crop = crops.open(0)
    assert not crop.changed and not crop.save() and crop.next_label == 1
    crop.painted[:2, :5] = 7
    assert crop.changed and crop.next_label == 8 and not on_disk(folder).any()
    assert crop.save() and not crop.changed and not crop.save()
    np.testing.assert_array_equal(on_disk(folder), crop.painted)
    state = crops.states()[0]
    assert state.state == "begun" and state.painted == pytest.approx(2 * 5 / 80)
    assert len(annotated_volumes(folder).fit) == 1
    crop.painted[...] = 0
    assert crop.save() and crops.states()[0].state == "to do"


def test_a_crop_begins_from_the_proposal_unless_something_is_there(folder):
    crop = AnnotationFolder(folder).open(1)
    crop.begin_from_proposal()
    np.testing.assert_array_equal(crop.painted, crop.proposal)
    assert crop.painted is not crop.proposal and crop.save()
    crop.painted[0, 0, 0] = 5
    with pytest.raises(InputError, match="painted already"):
        crop.begin_from_proposal()
    assert crop.painted[0, 0, 0] == 5 and crop.proposal[0, 0, 0] == 1


def test_what_another_program_painted_is_not_overwritten(folder):
    one, other = AnnotationFolder(folder).open(0), AnnotationFolder(folder).open(0)
    one.painted[0] = 1
    one.save()
    other.painted[1] = 2
    with pytest.raises(InputError, match="another program"):
        other.save()
    np.testing.assert_array_equal(on_disk(folder), one.painted)
    assert other.changed


def test_a_save_that_failed_halfway_can_be_tried_again(folder, monkeypatch):
    crop, write = AnnotationFolder(folder).open(0), Volume.write_box

    def half(volume, box, array):
        write(volume, (slice(0, 8), slice(0, 8), slice(0, 8)), array[:, :8, :8])
        raise NoSpaceError("no room")

    crop.painted[:] = 3
    with monkeypatch.context() as patched:
        patched.setattr(Volume, "write_box", half)
        with pytest.raises(NoSpaceError):
            crop.save()
    assert crop.changed and on_disk(folder).any() and not on_disk(folder).all()
    crop.painted[0] = 4
    assert crop.save()
    np.testing.assert_array_equal(on_disk(folder), crop.painted)


def test_what_cannot_be_saved_is_kept_beside(folder):
    crop = AnnotationFolder(folder).open(0)
    crop.painted[1] = 6
    first, second = crop.keep_apart(), None
    crop.painted[2] = 7
    second = crop.keep_apart()
    assert first.parent == second.parent == folder and first != second
    assert np.load(first).max() == 6 and np.load(second).max() == 7 and not on_disk(folder).any()


def test_only_what_the_file_can_hold_is_taken_over(folder):
    crop = AnnotationFolder(folder).open(0)
    crop.take(np.full(SHAPE, 9, np.int64))
    assert crop.painted.dtype == np.uint32 and (crop.painted == 9).all()
    for wrong in (np.full(SHAPE, -1), np.full(SHAPE, 2**32), np.ones(SHAPE), np.ones((2, 2, 2), int)):
        with pytest.raises(InputError, match="must be"):
            crop.take(wrong)
    crop.painted[...] = 2**32 - 1
    assert crop.next_label == 2**32 - 1


def test_done_is_said_in_the_list_and_the_rest_of_it_stays(folder):
    before = json.loads((folder / TODO).read_text())
    crops = AnnotationFolder(folder)
    crops.mark(0, True)
    crops.mark(1, True)
    crops.mark(1, False)
    assert [state.state for state in crops.states()] == ["done", "to do", "to do"] and crops.first_left() == 1
    after = json.loads((folder / TODO).read_text())
    assert after["crops"][0].pop("done") is True and after["crops"][1].pop("done") is False
    assert after == before
    for crop in after["crops"]:
        crop["name"] = f"other-{crop['name']}"
    (folder / TODO).write_text(json.dumps(after))
    with pytest.raises(InputError, match="other crops by now"):
        crops.mark(0, False)


def test_skeletons_count_as_begun(folder):
    (folder / "crop-2.skeletons").mkdir()
    (folder / "crop-2.skeletons" / "1.swc").write_text("1 0 5 5 5 1 -1\n")
    state = AnnotationFolder(folder).state(1)
    assert (state.state, state.traced) == ("begun", 1)


def test_no_such_folder_and_no_such_array(folder, tmp_path):
    with pytest.raises(InputError, match=r"no todo\.json"):
        AnnotationFolder(tmp_path / "nothing")
    (folder / "crop-1.zarr" / "labels" / "proposal").rename(tmp_path / "gone")
    with pytest.raises(InputError, match="proposal"):
        AnnotationFolder(folder).open(0)
