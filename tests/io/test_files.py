"""Small files are wholly there or not at all."""

import os

import pytest

from connectomics.io.files import read_json, write_atomically, write_json


def test_json_comes_back(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"b": [1, 2.5, None], "a": "\u00e4"})
    assert read_json(tmp_path / "new" / "a.json") == {"a": "\u00e4", "b": [1, 2.5, None]}


def test_the_old_file_stays_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, 1)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"2")
    assert read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path], "a temporary file was left"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_missing_and_damaged_are_none(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path / "b.json") is None
