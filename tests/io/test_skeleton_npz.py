"""Skeletons in an npz: read as they are, never unpickled."""

import numpy as np
import pytest

from connectomics.errors import FormatError
from connectomics.io.skeletons import read_skeletons

ARRAYS = {
    "ids": np.array([11, 22]),
    "vertices_nm": np.arange(15, dtype="f4").reshape(5, 3),
    "edges": np.array([[0, 1], [2, 3], [3, 4]], "u4"),
    "vertex_offset": np.array([0, 2, 5]),
    "edge_offset": np.array([0, 1, 3]),
    "radius_nm": np.arange(5, dtype="f4"),
}


def test_the_keys_of_the_format(tmp_path):
    np.savez(tmp_path / "a.dat.npz", **ARRAYS)
    found = read_skeletons(tmp_path / "a.dat.npz")
    assert found.ids.tolist() == [11, 11, 22, 22, 22]
    assert (found.nodes == ARRAYS["vertices_nm"]).all() and (found.edges == ARRAYS["edges"]).all()
    assert found.radii.tolist() == [0, 1, 2, 3, 4]
    np.savez(tmp_path / "b.npz", **{k: v for k, v in ARRAYS.items() if k != "radius_nm"})
    assert np.isnan(read_skeletons(tmp_path / "b.npz").radii).all()


@pytest.mark.parametrize("missing", ["ids", "vertices_nm", "edges", "vertex_offset"])
def test_a_missing_key_is_named(tmp_path, missing):
    np.savez(tmp_path / "a.npz", **{k: v for k, v in ARRAYS.items() if k != missing})
    with pytest.raises(FormatError, match="expected arrays"):
        read_skeletons(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": np.array([1, 2, 3])},
        {"vertex_offset": np.array([0, 2, 9])},
        {"vertex_offset": np.array([1, 2, 5])},
        {"vertex_offset": np.array([0, 2, 4])},
        {"ids": np.array([1.5, 1.7])},
        {"ids": np.array([2**63 + 5, 1], np.uint64)},
        {"edges": np.array([[0.9, 1.2]])},
        {"vertex_offset": np.array(5)},
        {"vertices_nm": np.array(5)},
        {"edges": np.array(["a", "b"])},
        {"vertices_nm": np.zeros((5, 2))},
        {"edges": np.array([[0, 9]])},
        {"ids": np.array([print, 2], dtype=object)},
    ],
)
def test_arrays_that_do_not_fit_or_hold_objects(tmp_path, changes):
    np.savez(tmp_path / "a.npz", **{**ARRAYS, **changes}, allow_pickle=True)
    with pytest.raises(FormatError):
        read_skeletons(tmp_path / "a.npz")


def test_a_truncated_file(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="damaged"):
        read_skeletons(tmp_path / "a.npz")
