"""The CSV file that `score --errors` writes is read back."""

import h5py
import numpy as np
import pytest

from connectomics.cli.main import run
from connectomics.errors import FormatError
from connectomics.pipeline.error_list import is_error_list, read_errors


def test_what_score_wrote_is_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        labels = np.ones((4, 4, 8), "u8")
        labels[..., 4:] = 2
        data = file.create_dataset("submission", data=labels)
        data.attrs["resolution"], data.attrs["offset"] = (100, 100, 100), (0, 0, 0)
    (tmp_path / "1.swc").write_text("1 0 50 50 50 1 -1\n2 0 350 50 50 1 1\n3 0 450 50 50 1 2\n")
    table = tmp_path / "errors.csv"
    arguments = ["score", f"{tmp_path}/a.h5", "--skeletons", f"{tmp_path}/1.swc", "--errors", str(table)]
    assert run([*arguments, "--quiet"]) == 0
    assert is_error_list(table) and not is_error_list(tmp_path / "1.swc") and not is_error_list(tmp_path)
    errors = read_errors(table)
    assert errors.places.tolist() == [[50.0, 50.0, 400.0]] and len(errors) == 1
    assert errors.features["kind"].tolist() == ["split"]
    assert {errors.features[f"segment_{side}"][0] for side in (1, 2)} == {1, 2}


@pytest.mark.parametrize(
    "text", ["", "kind,cost_nm,z_nm\nsplit,1,2\n", "kind,cost_nm,z_nm,y_nm,x_nm\nsplit,a,1,1,1\n"]
)
def test_another_table_is_refused(text, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    if text:
        with pytest.raises(FormatError, match="no list of errors"):
            read_errors(tmp_path / "a.csv")
    assert is_error_list(tmp_path / "a.csv") == bool(text)
