"""An output is made, resumed, refused or replaced; what is not this command's is never touched."""

from functools import partial

import numpy as np
import pytest

from connectomics.blockwise.lock import Lock
from connectomics.blockwise.output import open_run
from connectomics.errors import BusyError, InputError, OutputExistsError, RunFailed
from connectomics.io.ome_zarr import create_array, create_group, open_array
from connectomics.io.place import remove

LAYOUT = {
    "shape": (4, 4, 4),
    "dtype": np.uint8,
    "chunks": (4, 4, 4),
    "voxel_size": (1.0, 1.0, 1.0),
    "offset": (0.0, 0.0, 0.0),
}
EVERYTHING = (slice(0, 4),) * 3


def contents(folder):
    """Every file and folder below, with the bytes of the files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def run_once(out, command="predict", identity=None, product="prediction", value=1, **options):
    """A run that writes one array and completes."""
    with open_run(out, command, identity or {"threshold": 0.5}, [product], **options) as run:
        if not run.has(product):
            create_array(run.path, product, **LAYOUT)
        open_array(run.path, product).write_box(EVERYTHING, np.full((4, 4, 4), value, np.uint8))
        run.ledger.mark_done("copy", 0, "block 0", 0.1)
        run.finish({"value": value}, [product])


def value_in(out, product="prediction"):
    return int(open_array(out, product).read()[0, 0, 0])


def run_root(out, value=1, **options):
    """A run whose product is the root itself, as `convert` makes it."""

    def make():
        return create_array(out, "", **LAYOUT)

    with open_run(out, "convert", {"value": value}, ["0"], create=make, **options) as run:
        open_array(out, "").write_box(EVERYTHING, np.full((4, 4, 4), value, np.uint8))
        run.ledger.mark_done("copy", 0, "block 0", 0.1)
        run.finish({"value": value}, ["0"])


def test_a_run_makes_its_output_and_a_rerun_finds_it_complete(tmp_path):
    out = tmp_path / "deep" / "out.zarr"
    run_once(out)
    with open_run(out, "predict", {"threshold": 0.5}, ["prediction"]) as run:
        assert run.complete and run.has("prediction") and not run.has("other")
        assert run.ledger.done("copy") == {0}
    assert not (out / "ledger/lock.json").exists()


def test_a_complete_run_without_its_product_is_made_anew(tmp_path, caplog):
    out = tmp_path / "out.zarr"
    run_once(out, "segment", product="labels/segmentation", value=7)
    run_once(out)
    remove(out / "prediction")
    with open_run(out, "predict", {"threshold": 0.5}, ["prediction"]) as run:
        assert not run.complete and run.ledger.empty and not run.has("prediction")
    assert "prediction of the complete run is gone" in caplog.text
    assert value_in(out, "labels/segmentation") == 7
    with open_run(out, "segment", {"threshold": 0.5}, ["labels/segmentation"]) as run:
        assert run.complete  # that of another command is none of its own
    with pytest.raises(OutputExistsError, match="threshold"):
        run_once(out, identity={"threshold": 0.4})


def test_an_image_whose_voxels_are_gone_is_made_anew(tmp_path):
    out = tmp_path / "out.zarr"
    run_root(out)
    remove(out / "0")
    run_root(out)
    assert value_in(out, "") == 1
    run_once(out, "segment", product="labels/segmentation", value=7)
    remove(out / "0")
    before = contents(out)
    with pytest.raises(OutputExistsError, match="also holds what segment wrote"):
        run_root(out)
    assert contents(out) == before


def test_a_run_keeps_the_blocks_it_began_with(tmp_path):
    for asked in ((64, 64, 64), (32, 32, 32)):
        with open_run(tmp_path / "out.zarr", "predict", {"a": 1}, ["prediction"]) as run:
            assert run.settled_block(asked) == (64, 64, 64)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_group_of_the_older_format_is_refused_untouched(tmp_path, overwrite):
    out = tmp_path / "out.zarr"
    create_group(out, 2)
    before = contents(out)
    with pytest.raises(OutputExistsError, match=r"zarr format 2.*Choose another output"):
        run_once(out, overwrite=overwrite)
    assert contents(out) == before


def test_bad_input_leaves_no_ledger_in_the_group_of_others(tmp_path):
    out = tmp_path / "out.zarr"
    create_array(out, "raw", **LAYOUT)
    before = contents(out)
    with pytest.raises(InputError, match="constant"), open_run(out, "predict", {"a": 1}, ["prediction"]):
        raise InputError("constant")
    assert contents(out) == before


def test_an_interrupted_run_is_resumed(tmp_path):
    out = tmp_path / "out.zarr"
    with pytest.raises(KeyboardInterrupt), open_run(out, "predict", {"a": 1}, ["prediction"]) as run:
        run.ledger.mark_done("copy", 0, "block 0", 0.1)
        raise KeyboardInterrupt
    with open_run(out, "predict", {"a": 1}, ["prediction"]) as run:
        assert not run.complete
        assert run.ledger.done("copy") == {0}


def test_another_run_is_refused_naming_what_differs(tmp_path):
    out = tmp_path / "out.zarr"
    run_once(out)
    before = contents(out)
    with pytest.raises(OutputExistsError, match=r"threshold: 0\.5 -> 0\.4.*--overwrite"):
        run_once(out, identity={"threshold": 0.4})
    assert contents(out) == before


def test_overwrite_replaces_this_commands_products_and_no_others(tmp_path):
    out = tmp_path / "out.zarr"
    run_once(out, "segment", product="labels/segmentation", value=7)
    run_once(out, value=1)
    others = {k: v for k, v in contents(out).items() if "prediction" not in k and "predict" not in k}
    run_once(out, identity={"threshold": 0.4}, value=2, overwrite=True)
    assert value_in(out) == 2
    after = contents(out)
    assert {k: after[k] for k in others} == others
    assert value_in(out, "labels/segmentation") == 7


def test_commands_share_a_group(tmp_path):
    out = tmp_path / "out.zarr"
    run_once(out, "predict", {"a": 1})
    run_once(out, "segment", {"b": 2}, "labels/segmentation")
    run_once(out, "predict", {"a": 1})
    assert (value_in(out), value_in(out, "labels/segmentation")) == (1, 1)


def test_a_product_that_something_else_made_is_refused(tmp_path):
    out = tmp_path / "out.zarr"
    run_once(out, "other")
    before = contents(out)
    with pytest.raises(OutputExistsError, match="already holds prediction, not made by this command"):
        run_once(out, "predict")
    assert contents(out) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_place_is_never_touched(tmp_path, overwrite):
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("years of work")
    file = tmp_path / "file.zarr"
    file.write_text("a file")
    before = contents(tmp_path)
    for place in (foreign, file, file / "out.zarr"):
        with pytest.raises(OutputExistsError, match="Choose another output"):
            run_once(place, overwrite=overwrite)
        with pytest.raises(OutputExistsError, match="Choose another output"):
            run_root(place, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_an_empty_folder_is_a_place_to_write(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "b.zarr").mkdir()
    run_once(tmp_path / "a.zarr")
    run_root(tmp_path / "b.zarr")
    assert (value_in(tmp_path / "a.zarr"), value_in(tmp_path / "b.zarr", "")) == (1, 1)


@pytest.mark.parametrize("existed", [False, True])
def test_bad_input_leaves_no_trace(tmp_path, existed):
    out = tmp_path / "out.zarr"
    if existed:
        out.mkdir()
    before = contents(tmp_path)
    with (
        pytest.raises(InputError, match="constant"),
        open_run(out, "predict", {"a": 1}, ["prediction"]) as run,
    ):
        create_array(run.path, "prediction", **LAYOUT)
        run.ledger.mark_failed("affinities", 0, "block 0", InputError("constant"))
        raise InputError("constant")
    assert contents(tmp_path) == before


def test_bad_input_leaves_what_other_commands_wrote_and_may_be_corrected(tmp_path):
    out = tmp_path / "out.zarr"
    run_once(out, "segment", product="labels/segmentation", value=7)
    before = contents(out)
    with pytest.raises(InputError, match="constant"), open_run(out, "predict", {"a": 1}, ["prediction"]):
        raise InputError("constant")
    assert contents(out) == before
    run_once(out, identity={"a": 2})


@pytest.mark.parametrize("kind", [InputError, RunFailed])
def test_what_is_done_outlives_a_later_error(tmp_path, kind):
    out = tmp_path / "out.zarr"
    with pytest.raises(kind, match="disk is full"), open_run(out, "predict", {"a": 1}, ["prediction"]) as run:
        run.ledger.mark_done("affinities", 0, "block 0", 3600.0)
        raise kind("disk is full")
    with open_run(out, "predict", {"a": 1}, ["prediction"]) as run:
        assert run.ledger.done("affinities") == {0}


def test_retrying_needs_something_that_failed(tmp_path):
    out, run = tmp_path / "out.zarr", ("predict", {"threshold": 0.5}, ["prediction"])
    for _ in range(2):  # nothing is there; then a run without failures
        with pytest.raises(InputError, match="no block of an earlier run failed there"):
            open_run(out, *run, retry_failed=True).__enter__()
        run_once(out)
    with open_run(out, *run) as held:
        held.ledger.mark_failed("prediction", 4, "block 4", ValueError("bad voxels"))
    with pytest.raises(InputError, match="give one of them"):
        open_run(out, *run, retry_failed=True, overwrite=True).__enter__()
    with open_run(out, *run, retry_failed=True) as held:
        assert held.ledger.failed_only and held.ledger.failed_steps == ["prediction"]


def test_a_live_run_refuses_another_and_nothing_is_removed(tmp_path):
    out = tmp_path / "out.zarr"
    run_once(out)
    with Lock(out / "ledger/lock.json"):
        before = contents(out)
        for overwrite in (False, True):
            with pytest.raises(BusyError, match="another run"):
                run_once(out, overwrite=overwrite)
        assert contents(out) == before
    run_root(tmp_path / "image.zarr")
    with Lock(tmp_path / "image.zarr/ledger/lock.json"):
        before = contents(tmp_path / "image.zarr")
        with pytest.raises(BusyError, match="another run"):
            run_root(tmp_path / "image.zarr", overwrite=True)
        assert contents(tmp_path / "image.zarr") == before


def test_an_image_is_resumed_refused_and_replaced(tmp_path):
    out = tmp_path / "out.zarr"
    run_root(out, 1)
    run_root(out, 1)
    with pytest.raises(OutputExistsError, match="value: 1 -> 2"):
        run_root(out, 2)
    assert value_in(out, "") == 1
    run_root(out, 2, overwrite=True)
    assert value_in(out, "") == 2


def test_an_image_that_could_not_be_replaced_leaves_room_for_another(tmp_path):
    out = tmp_path / "out.zarr"
    run_root(out, 1)
    make = partial(create_array, out, "", **LAYOUT)
    with (
        pytest.raises(InputError, match="constant"),
        open_run(out, "convert", {"value": 2}, ["0"], create=make, overwrite=True),
    ):
        raise InputError("constant")
    assert not any(out.iterdir())
    run_root(out, 3)
    assert value_in(out, "") == 3


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_image_takes_no_place_that_is_not_its_own(tmp_path, overwrite):
    raw = tmp_path / "raw.zarr"
    create_array(raw, "", **LAYOUT)
    run_once(tmp_path / "segmented.zarr")
    for place in (raw, tmp_path / "segmented.zarr"):
        before = contents(place)
        with pytest.raises(OutputExistsError, match="not made by this command"):
            run_root(place, overwrite=overwrite)
        assert contents(place) == before


def test_an_image_is_not_replaced_with_what_others_wrote_into_it(tmp_path):
    out = tmp_path / "out.zarr"
    run_root(out)
    run_once(out, "segment", product="labels/segmentation")
    before = contents(out)
    with pytest.raises(OutputExistsError, match="also holds what segment wrote"):
        run_root(out, 2, overwrite=True)
    assert contents(out) == before
    run_root(out)


def test_a_run_from_when_memory_counted_goes_on(tmp_path):
    old = {"command": "segment", "inference": {"tile": None, "memory": 8}, "block": [64, 64, 64]}
    new = {"command": "segment", "inference": {"tile": None}, "block": None}
    with open_run(tmp_path / "a.zarr", "segment", old, ["x"]):
        pass
    with open_run(tmp_path / "a.zarr", "segment", new, ["x"]) as run:
        assert run.settled_block((128, 128, 128)) == (64, 64, 64)
    with (
        pytest.raises(OutputExistsError, match="block"),
        open_run(tmp_path / "a.zarr", "segment", new | {"block": [32, 32, 32]}, ["x"]),
    ):
        pass
