"""Converting any volume: the same voxels in the same place, resumed, or nothing at all."""

import json

import h5py
import numpy as np
import pytest

from connectomics.cli.main import run
from connectomics.errors import SettingsError
from connectomics.io.describe import describe
from connectomics.io.ome_zarr import create_array
from connectomics.io.opening import open_volume
from connectomics.io.settings import ConvertSettings
from connectomics.io.volume import Volume
from connectomics.pipeline import convert
from connectomics.pipeline.resources import BASE_BYTES
from connectomics.pipeline.settings import RunSettings

DATA = np.random.default_rng(0).integers(0, 200, (30, 50, 70)).astype("u2")


@pytest.fixture
def source(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=DATA, chunks=(10, 50, 70), compression="gzip")
        data.attrs["resolution"], data.attrs["offset"] = (40, 4, 4.5), (120, 3, -9)
    return tmp_path / "a.h5"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--chunk", "16", "--levels", "3", "--labels"],
        ["--chunk", "16", "--shard", "32"],
        ["--zarr-format", "2", "--chunk", "8", "--levels", "1"],
        ["--chunk", "8", "--block", "16", "24", "80"],
    ],
)
def test_voxels_and_place_are_kept(source, tmp_path, options):
    out = tmp_path / "a.zarr"
    assert run(["convert", f"{source}/raw", str(out), *options]) == 0
    found = open_volume(out)
    np.testing.assert_array_equal(found.read(), DATA)
    assert found.dtype == DATA.dtype
    assert found.voxel_size == (40, 4, 4.5) and found.offset == (120, 3, -9)
    if "--levels" in options:
        assert len(describe(out)["levels"]) == int(options[options.index("--levels") + 1])
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert run(["convert", f"{source}/raw", str(out), *options]) == 0  # already complete
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_another_conversion_is_refused_and_overwrite_replaces_it(source, tmp_path, capsys):
    out = tmp_path / "a.zarr"
    assert run(["convert", f"{source}/raw", str(out)]) == 0
    assert run(["convert", f"{source}/raw", str(out), "--chunk", "32"]) == 2
    assert "settings.chunk: 64 -> 32" in capsys.readouterr().err
    assert run(["convert", f"{source}/raw", str(out), "--chunk", "32", "--overwrite"]) == 0
    assert describe(out)["chunks"] == [32, 32, 32]


def test_a_corrupt_input_leaves_nothing(source, tmp_path, capsys):
    with h5py.File(source) as file:
        places = [file["raw"].id.get_chunk_info(i).byte_offset for i in range(3)]
    with source.open("r+b") as stream:
        for place in places:
            stream.seek(place)
            stream.write(b"\xff" * 100)
    assert run(["convert", f"{source}/raw", str(tmp_path / "out.zarr")]) == 2
    assert "cannot read voxels" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_blocks_of_broken_chunks_are_refused(source, tmp_path, capsys):
    assert run(["convert", f"{source}/raw", str(tmp_path / "o.zarr"), "--block", "20", "20", "20"]) == 2
    assert "whole chunks" in capsys.readouterr().err


def test_a_run_that_goes_on_with_another_block_leaves_no_hole(source, tmp_path, monkeypatch):
    arguments = ["convert", f"{source}/raw", str(tmp_path / "o.zarr"), "--chunk", "16", "--workers", "1"]
    honest = Volume.read_box

    def stops(volume, box):
        if box[1].start == 48:
            raise MemoryError("out of luck")
        return honest(volume, box)

    with monkeypatch.context() as patch:
        patch.setattr(Volume, "read_box", stops)
        assert run([*arguments, "--block", "16", "16", "32"]) == 1
    assert run([*arguments, "--block", "32", "32", "48"]) == 0
    np.testing.assert_array_equal(open_volume(tmp_path / "o.zarr").read(), DATA)


def test_settings_are_checked():
    for wrong in ({"chunk": 0}, {"levels": 0}, {"zarr_format": 4}, {"chunks": 64}):
        with pytest.raises(SettingsError):
            ConvertSettings.parse(wrong)


@pytest.mark.parametrize("inner", ["", "/0"])
def test_the_input_is_never_replaced_by_its_own_copy(source, tmp_path, capsys, inner):
    out = tmp_path / "a.zarr"
    assert run(["convert", f"{source}/raw", str(out)]) == 0
    for more in ([], ["--overwrite"]):
        assert run(["convert", f"{out}{inner}", str(out), "--voxel-size", "1", "1", "1", *more]) == 2
        assert "is the input, or holds it" in capsys.readouterr().err
    np.testing.assert_array_equal(open_volume(out).read(), DATA)


def label_source(path, dtype, kind):
    layout = {"shape": (8, 8, 8), "dtype": dtype, "chunks": (8,) * 3, "voxel_size": (4,) * 3, "kind": kind}
    made = create_array(path, "labels/truth", offset=(0, 0, 0), **layout)
    made.write_box((slice(0, 8),) * 3, IDS.astype(dtype))
    return f"{path}/labels/truth"


# the second voxel of the coarser level lies over 10 and 90
IDS = np.broadcast_to(np.array([10, 10, 10, 90, 90, 90, 200, 200]), (8, 8, 8))


@pytest.mark.parametrize(
    ("dtype", "kind", "inner", "options", "labels"),
    [
        ("u1", "label", "", [], True),
        ("u1", "label", "/0", [], True),
        ("u8", "image", "", [], True),
        ("u4", "image", "", ["--no-labels"], False),
        ("u1", "image", "", [], False),
        ("u1", "image", "", ["--labels"], True),
    ],
)
def test_ids_are_never_averaged(tmp_path, dtype, kind, inner, options, labels):
    source, out = label_source(tmp_path / "p.zarr", dtype, kind), tmp_path / "lab.zarr"
    assert run(["convert", f"{source}{inner}", str(out), "--levels", "2", *options]) == 0
    coarse = np.unique(open_volume(out, level=1).read()).tolist()
    assert coarse == ([10, 90, 200] if labels else [10, 50, 90, 200])
    assert open_volume(out).labels is labels and open_volume(f"{out}/0").labels is labels
    assert run(["convert", f"{source}{inner}", str(out), "--levels", "2", *options]) == 0  # the same run


def test_ids_of_other_formats_are_not_averaged_either(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["wide"], file["grey"] = IDS.astype("u4"), IDS.astype("u2")
    for name, found in (("wide", [10, 90, 200]), ("grey", [10, 50, 90, 200])):
        line = ["convert", f"{tmp_path}/a.h5/{name}", str(tmp_path / name), "--levels", "2"]
        assert run([*line, "--voxel-size", "4", "4", "4"]) == 0
        assert np.unique(open_volume(tmp_path / name, level=1).read()).tolist() == found


@pytest.mark.parametrize("zarr_format", ["2", "3"])
def test_others_read_what_is_written(source, tmp_path, zarr_format):
    import tensorstore

    out = tmp_path / "a.zarr"
    assert run(["convert", f"{source}/raw", str(out), "--zarr-format", zarr_format, "--levels", "1"]) == 0
    driver = {"2": "zarr", "3": "zarr3"}[zarr_format]
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{out}/0/"}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), DATA)


def test_overwriting_with_what_cannot_be_read_keeps_what_was_there(source, tmp_path, capsys):
    good = tmp_path / "good.zarr"
    assert run(["convert", f"{source}/raw", str(good)]) == 0
    bad = tmp_path / "bad.zarr"
    assert run(["convert", f"{source}/raw", str(bad), "--chunk", "32"]) == 0
    chunk = next(path for path in (bad / "0" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(b"nonsense")
    assert run(["convert", str(bad), str(good), "--overwrite"]) == 2
    np.testing.assert_array_equal(open_volume(good).read(), DATA)


def test_memory_bounds_the_blocks_and_levels_are_those_written(source, tmp_path):
    out, report = tmp_path / "a.zarr", tmp_path / "a.json"
    line = ["convert", f"{source}/raw", str(out), "--memory", "1GB", "--levels", "20", "--json", str(report)]
    assert run(line) == 0
    assert json.loads(report.read_text())["levels"] == len(describe(out)["levels"]) < 20
    settings = RunSettings(workers=1)
    few = convert._block(ConvertSettings(chunk=32), settings, int(BASE_BYTES + 65**3 * 8), open_volume(out))
    assert few == (64, 64, 64)  # 4 copies of 2 bytes a voxel


def test_nothing_is_written_into_the_input(source, tmp_path, capsys):
    out = tmp_path / "a.zarr"
    assert run(["convert", f"{source}/raw", str(out)]) == 0
    assert run(["convert", str(out), str(out / "x.zarr")]) == 2
    assert "lies in it" in capsys.readouterr().err and not (out / "x.zarr").exists()
