"""The edit log: a file of JSON lines beside the volume, safe after every edit.

``OUT.zarr/edits/AUTHOR.jsonl``: one file for each author, so that two people can review one volume at the
same time. The first line, the header, binds the log to the fragments and the region graph that it was made
on. Lines are only ever added, each pressed to the disk before the edit counts; undoing and redoing are lines
too. A last line that a crash tore is dropped. Two live sessions of one author refuse each other.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from connectomics.errors import InputError
from connectomics.proofreading.edits import Line


class VolumeChangedError(InputError):
    """The fragments under a log are not those that it was made on."""


class EditLog:
    """An author's log, open for adding to.

    Parameters
    ----------
    path
        ``.../edits/AUTHOR.jsonl``; made, with its folder, when the first line is added.
    binding
        What the log belongs to, see `connectomics.proofreading.output.Output.binding`.

    Attributes
    ----------
    lines : list
        All lines but the header, in order.
    read_only : str or None
        Why nothing can be added; None where it can.

    Raises
    ------
    VolumeChangedError
        The log was made on other fragments; it names what differs.
    BusyError
        Another live session has the log open.
    FormatError
        A line, not the last, is damaged; it is named.
    """

    def __init__(self, path: Path, binding: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def append(self, line: Line) -> None:
        """Add a line; when this returns it is on the disk, and when it raises the log is as it was.

        Raises
        ------
        NoSpaceError
            The disk is full.
        InputError
            The folder cannot be written, or another session has taken the log over.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let other sessions have it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_log(path: Path, binding: Mapping[str, Any] | None = None) -> list[Line]:
    """The lines of a log without opening it for writing.

    Raises
    ------
    InputError
        There is no such file.
    FormatError
        It is no edit log, or a line is damaged.
    VolumeChangedError
        `binding` is given, and the log was made on other fragments.
    """
    raise NotImplementedError


def log_path(folder: Path, author: str) -> Path:
    """Where an author's log lies; raises InputError where the name cannot be a file name."""
    raise NotImplementedError
