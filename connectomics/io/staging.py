"""Folders that appear whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from connectomics.errors import OF_THE_PATH, ConnectomicsError, InputError, NoSpaceError, OutputExistsError
from connectomics.io.place import Place, RemotePath, as_place
from connectomics.io.transfer import upload


@contextmanager
def appearing(target: str | Place) -> Iterator[Path]:
    """Yield a hidden path beside `target` to build a folder at; it takes its name when the block ends well.

    What a killed process left behind is removed first; an error removes what was built. A folder for a
    bucket is built in a temporary place and then sent, the files at its top last.

    Raises
    ------
    OutputExistsError
        `target` is there and not an empty folder.
    """
    target = as_place(target)
    if isinstance(target, RemotePath):
        with TemporaryDirectory(prefix="connectomics-") as folder:
            yield Path(folder) / "staged"
            upload(Path(folder) / "staged", target)
        return
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputExistsError(
            f"{target}: exists already; nothing was touched. Name another place, or "
            "give --overwrite where the command has it."
        )
    if target.is_symlink():  # built where it leads, and the link kept
        target = target.resolve()
    staged = target.parent / f".{target.name}.partial-{os.getpid()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in target.parent.glob(f".{target.name}.partial-*"):
            shutil.rmtree(leftover)
        yield staged
        if target.exists():
            target.rmdir()
        os.rename(staged, target)
    except OSError as error:
        raise unwritable(error, str(target)) or error from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def unwritable(error: OSError, what: str) -> ConnectomicsError | None:
    """The error to show a user whose disk is full, or who cannot write there; None where it is another."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError(f"{what}: cannot be written: {error.strerror}. Make room there and run again.")
    if error.errno not in OF_THE_PATH - {errno.ENOENT}:
        return None
    blocked = error.errno in (errno.EEXIST, errno.ENOTDIR)
    why = "a file is where a folder should be" if blocked else error.strerror
    return InputError(f"{what}: cannot be written: {why}. Choose a place that can be written, and run again.")
