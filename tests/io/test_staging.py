"""Folders that appear whole or not at all."""

import errno

import pytest

from connectomics.errors import NoSpaceError, OutputExistsError
from connectomics.io.staging import appearing


def test_it_appears_at_the_end(tmp_path):
    (tmp_path / ".out.partial-1").mkdir()  # as a killed process leaves it
    with appearing(tmp_path / "out") as staged:
        staged.mkdir()
        (staged / "data").write_text("all of it")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(OutputExistsError, match="exists already"), appearing(tmp_path / "out"):
        pass
    assert (tmp_path / "out/data").read_text() == "all of it"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    with appearing(tmp_path / "out") as staged:
        staged.mkdir()
        (staged / "data").touch()
    assert (tmp_path / "out/data").exists()


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), NoSpaceError),
        (OSError(errno.EIO, "odd"), OSError),
        (ValueError("odd"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_error_leaves_nothing(tmp_path, error, shown):
    with pytest.raises(shown), appearing(tmp_path / "out") as staged:
        staged.mkdir()
        raise error
    assert not list(tmp_path.iterdir())


def test_a_link_is_kept_and_filled_where_it_leads(tmp_path):
    (tmp_path / "disk").mkdir()
    for where in ("disk/empty", "disk/new"):
        link = tmp_path / f"link-{where[5:]}"
        if where.endswith("empty"):
            (tmp_path / where).mkdir()
        link.symlink_to(tmp_path / where)
        with appearing(link) as staged:
            staged.mkdir()
            (staged / "a").touch()
        assert link.is_symlink() and (tmp_path / where / "a").exists()
