"""`submit`: what is packed is what the challenge takes, at any voxel size that divides 99 nm."""

import zipfile

import h5py
import numpy as np
import pytest

from connectomics.blockwise.progress import Silent
from connectomics.cli.main import run
from connectomics.errors import GeometryError, InputError, OutputExistsError, RunFailed
from connectomics.io import strided
from connectomics.io.submission import SPLITS
from connectomics.pipeline import submit
from connectomics.pipeline.settings import RegionSettings
from connectomics.pipeline.submit import check_submission, pack_submission
from connectomics.roi import Roi

REGION = Roi((3267.0,) * 3, (990.0, 1188.0, 1386.0))  # 10 x 12 x 14 voxels of 99 nm


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The challenge with a region that a test can fill."""
    monkeypatch.setitem(SPLITS, "test", REGION)
    monkeypatch.setattr(strided.cut_box, "__defaults__", (16,))
    monkeypatch.setattr(strided.read_strided, "__defaults__", (16,))
    monkeypatch.setattr(submit, "_CHUNK", 4)


def segmentation(path, voxel=33, dtype=np.uint32, begin=2970, end=4950, chunks=(8, 8, 8)):
    """Labels that say where they are, over more than the region."""
    n = (end - begin) // voxel
    z, y, x = np.ogrid[:n, :n, :n]
    labels = (1 + z + 70 * y + 70 * 70 * x).astype(dtype)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("seg", data=labels, chunks=chunks)
        data.attrs["resolution"], data.attrs["offset"] = (voxel,) * 3, (begin,) * 3
    return labels


def pack(path, out, **settings):
    given = {"split": "test", "region": RegionSettings(), "overwrite": False, "progress": Silent()} | settings
    return pack_submission(f"{path}/seg", out, **given)


def unpacked(path, tmp_path):
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["submission.h5"]
        archive.extractall(tmp_path / "unpacked")
    with h5py.File(tmp_path / "unpacked/submission.h5") as file:
        assert list(file) == ["submission"]
        data = file["submission"]
        assert data.attrs["resolution"].tolist() == [99] * 3 and data.attrs["offset"].tolist() == [3267] * 3
        return data[:]


@pytest.mark.parametrize("voxel", [99, 33, 11])
@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.uint64, np.float64])
@pytest.mark.parametrize("chunks", [(8, 8, 8), (5, 3, 7), None])
def test_every_third_voxel_from_the_corner_of_the_region(tmp_path, voxel, dtype, chunks):
    begin = 2970
    end = 4950 if voxel != 11 else 4752
    labels = segmentation(tmp_path / "a.h5", voxel, dtype, begin, end, chunks)
    report = pack(tmp_path / "a.h5", tmp_path / "out.zip")
    first, step = (3267 - begin) // voxel, 99 // voxel
    expected = labels[first::step, first::step, first::step][:10, :12, :14].astype(np.uint64)
    packed = unpacked(tmp_path / "out.zip", tmp_path)
    assert packed.dtype == np.uint64 and (packed == expected).all()
    assert report["shape"] == (10, 12, 14) and report["stride"] == (step,) * 3 and len(report["checks"]) == 5
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"voxel": 66}, GeometryError, "does not divide"),
        ({"voxel": 198}, GeometryError, "does not divide"),
        ({"begin": 3300}, GeometryError, "does not contain"),
        ({"end": 4290}, GeometryError, "does not contain"),
        ({"begin": 2980, "end": 4960}, GeometryError, "not on the voxel grid"),
    ],
)
def test_what_does_not_fit(tmp_path, options, error, why):
    segmentation(tmp_path / "a.h5", **options)
    with pytest.raises(error, match=why):
        pack(tmp_path / "a.h5", tmp_path / "out.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a: a * 0, "only background"),
        (lambda a: a.astype(np.int64) * -1, "negative label"),
        (lambda a: a + 0.5, "no labels"),
        (lambda a: np.full(a.shape, 2**64 - 1, np.uint64), "too large"),
    ],
)
def test_what_are_no_labels(tmp_path, change, why):
    labels = segmentation(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        attributes = dict(file["seg"].attrs)
        del file["seg"]
        file.create_dataset("seg", data=change(labels)).attrs.update(attributes)
    with pytest.raises(InputError, match=why):
        pack(tmp_path / "a.h5", tmp_path / "out.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_an_output_is_replaced_only_when_asked(tmp_path):
    segmentation(tmp_path / "a.h5")
    out = tmp_path / "out.zip"
    out.write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        pack(tmp_path / "a.h5", out)
    assert out.read_text() == "mine"
    pack(tmp_path / "a.h5", out, overwrite=True)
    assert zipfile.is_zipfile(out)


def bad_zip(path, labels, name="submission.h5", data_set="submission", resolution=99, offset=3267):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        data = file.create_dataset(data_set, data=labels)
        data.attrs["resolution"], data.attrs["offset"] = [resolution] * 3, [offset] * 3
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, path.with_suffix(".h5").read_bytes())
    return path


GOOD = np.ones((10, 12, 14), np.uint64)


@pytest.mark.parametrize(
    ("labels", "options", "why"),
    [
        (GOOD.astype(np.uint32), {}, "uint32"),
        (GOOD.astype(np.float32), {}, "float32"),
        (GOOD[None], {}, "not 3-D"),
        (GOOD, {"name": "foo.h5"}, "exactly one file"),
        (GOOD, {"name": "./submission.h5"}, "exactly one file"),
        (GOOD[:9], {}, "it spans"),
        (GOOD, {"offset": 33}, "it spans"),
        (GOOD, {"resolution": 33}, "voxel size"),
        (GOOD * np.uint64(2**64 - 1), {}, "overflow"),
    ],
)
def test_the_check_finds(tmp_path, labels, options, why):
    assert check_submission(bad_zip(tmp_path / "good.zip", GOOD))
    with pytest.raises(RunFailed, match=why):
        check_submission(bad_zip(tmp_path / "bad.zip", labels, **options))


def test_the_check_finds_another_data_set(tmp_path):
    with pytest.raises(InputError, match=r"bad.zip/submission.h5: no data set 'submission'"):
        check_submission(bad_zip(tmp_path / "bad.zip", GOOD, data_set="labels"))


def test_a_zip_that_fails_its_check_does_not_appear(tmp_path, monkeypatch):
    segmentation(tmp_path / "a.h5")
    monkeypatch.setattr(submit, "_pack", lambda folder, labels, region: bad_zip(folder / "x.zip", GOOD[:3]))
    with pytest.raises(RunFailed, match="it spans"):
        pack(tmp_path / "a.h5", tmp_path / "out.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_the_command_line_packs_what_score_reads(tmp_path, capsys):
    segmentation(tmp_path / "a.h5")
    out = tmp_path / "out.zip"
    assert run(["submit", f"{tmp_path}/a.h5/seg", str(out)]) == 0
    assert "submission.h5" in capsys.readouterr().out
    (tmp_path / "1.swc").write_text("1 0 3300 3300 3300 1 -1\n2 0 3300 3300 3400 1 1\n")
    assert run(["score", str(out), "--skeletons", f"{tmp_path}/1.swc", "--strict", "--split", "test"]) == 0
    assert run(["submit", f"{tmp_path}/a.h5/seg", str(out)]) == 2


def test_a_segmentation_in_a_bucket_is_packed_as_from_disk(bucket, tmp_path):
    segmentation(tmp_path / "seg.h5", 99)
    assert run(["convert", f"{tmp_path}/seg.h5/seg", f"{bucket}/seg.zarr", "--labels", "--quiet"]) == 0
    pack(tmp_path / "seg.h5", tmp_path / "here.zip")
    there = tmp_path / "there.zip"
    assert run(["submit", f"{bucket}/seg.zarr", str(there), "--quiet"]) == 0
    np.testing.assert_array_equal(unpacked(there, tmp_path / "a"), unpacked(tmp_path / "here.zip", tmp_path))
