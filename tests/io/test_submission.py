"""The XPRESS submission: what the official check refuses is a fault, and messages name the user's file."""

import json
import zipfile

import h5py
import pytest

from connectomics.cli.main import run
from connectomics.errors import FormatError, InputError
from connectomics.io.skeletons import Skeletons, write_swc
from connectomics.io.submission import SPLITS, open_submission

FULL = (334,) * 3


def submission(path, shape=FULL, dtype="u8", name="submission", resolution=99, offset=3267):
    """An HDF5 file of any size; nothing is stored for voxels of background."""
    with h5py.File(path, "w") as file:
        chunks = (*shape[:-3], *(min(n, 64) for n in shape[-3:]))
        data = file.create_dataset(name, shape, dtype, chunks=chunks)
        for key, value in (("resolution", resolution), ("offset", offset)):
            if value is not None:
                data.attrs[key] = [value] * 3
    return path


def zipped(path, source, member="submission.h5"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, source.read_bytes())  # keeps a leading ./
    return path


OFFICIAL = {
    "good": {},
    "uint32": {"dtype": "u4"},
    "float32": {"dtype": "f4"},
    "name": {"member": "foo.h5"},
    "ds": {"name": "seg"},
    "shape333": {"shape": (333,) * 3},
    "offset_vox": {"offset": 33},
    "res33": {"resolution": 33},
    "noattrs": {"resolution": None, "offset": None},
    "float_attrs": {"resolution": 99.0, "offset": 3267.0},
    "float_attrs_frac": {"resolution": 99.4, "offset": 3267.9},
    "dotslash": {"member": "./submission.h5"},
    "chan4d": {"shape": (1, *FULL)},
}
SCORER = {"uint32", "float32", "chan4d"}
"""Cases that pass the official check, and that the official scorer then fails on."""


def faults(tmp_path, *, member="submission.h5", split="test", data_set=None, **options):
    path = zipped(tmp_path / "a.zip", submission(tmp_path / "a.h5", **options), member)
    with open_submission(str(path), data_set, region=SPLITS[split] if split else None) as found:
        return list(found.faults)


@pytest.mark.parametrize("split", ["test", "training", None])
@pytest.mark.parametrize("case", OFFICIAL)
def test_the_official_check_and_ours_agree(shared, tmp_path, case, split):
    cases = json.loads((shared / "xpress_oracle/check_submission_cases.json").read_text())
    assert set(cases) == set(OFFICIAL), "test invalid"
    if case == "noattrs" and split is None:
        with pytest.raises(InputError, match=r"a.zip/submission.h5/submission: it has no attribute"):
            faults(tmp_path, split=split, **OFFICIAL[case])
        return
    passes = cases[case]["rc"] == 0 and case not in SCORER
    assert (faults(tmp_path, split=split, **OFFICIAL[case]) == []) == passes


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": "seg"}, "named 'seg'"),
        ({"shape": (335,) * 3}, "it spans"),
        ({"shape": (167,) * 3, "resolution": 198}, "voxel size"),
        ({"split": "validation"}, "it spans"),
    ],
)
def test_each_fault_is_named(tmp_path, options, why):
    (fault,) = faults(tmp_path, **options)
    assert why in fault


def test_a_bare_file_may_name_its_data_set_as_it_likes(tmp_path):
    path = submission(tmp_path / "a.h5", (8,) * 3, name="seg", resolution=33)
    with open_submission(str(path)) as found:
        assert found.faults == ()


def test_the_command_line_refuses_what_the_check_refuses(tmp_path, capsys):
    write_swc(tmp_path / "s", Skeletons([[9e3] * 3, [9.2e3] * 3], [[0, 1]], [1, 1], [1, 1]))
    path = zipped(tmp_path / "a.zip", submission(tmp_path / "a.h5", (335,) * 3, name="seg"))
    line = ["score", str(path), "--skeletons", str(tmp_path / "s"), "--split", "test"]
    assert run([*line, "--strict"]) == 2
    shown = capsys.readouterr().err
    assert "named 'seg'" in shown and "it spans" in shown
    assert run(line) == 0


def test_messages_name_the_zip_and_its_member(tmp_path):
    (tmp_path / "cut.h5").write_bytes(submission(tmp_path / "a.h5").read_bytes()[:-900])
    path = zipped(tmp_path / "cut.zip", tmp_path / "cut.h5", "sub/x.h5")
    with pytest.raises(FormatError, match=r"^\S*cut.zip/sub/x.h5: the HDF5 file is truncated"), _opened(path):
        pass
    path = zipped(tmp_path / "a.zip", submission(tmp_path / "b.h5", (8,) * 3), "sub/x.h5")
    with open_submission(str(path)) as found:
        assert found.volume.name == f"{path}/sub/x.h5/submission"
    with pytest.raises(InputError, match=r"^\S*a.zip/sub/x.h5: no data set 'seg'"), _opened(path, "seg"):
        pass


@pytest.mark.parametrize("lost", [1, 50])
def test_a_zip_that_is_cut_is_said_to_be(tmp_path, lost):
    path = zipped(tmp_path / "a.zip", submission(tmp_path / "a.h5", (8,) * 3))
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(FormatError, match=r"a.zip: the zip is damaged or truncated"), _opened(path):
        pass


def _opened(path, data_set=None):
    return open_submission(str(path), data_set)
