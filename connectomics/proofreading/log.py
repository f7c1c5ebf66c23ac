"""The edit log: a file of JSON lines beside the volume, safe after every edit.

``OUT.zarr/edits/AUTHOR.jsonl``: one file for each author, so that two people can review one volume at the
same time. The first line, the header, binds the log to the fragments and the region graph that it was made
on. Lines are only ever added, each pressed to the disk before the edit counts; undoing and redoing are lines
too. A last line that a crash tore is dropped. Two live sessions of one author refuse each other.
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from connectomics.blockwise.identity import differences
from connectomics.blockwise.lock import Lock
from connectomics.errors import BusyError, FormatError, InputError, OutputExistsError
from connectomics.io.files import read_json
from connectomics.io.staging import unwritable
from connectomics.proofreading.edits import Line, from_json, now, to_json

FOLDER = "edits"
"""Inside ``OUT.zarr``."""

VERSION = 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")

log = logging.getLogger(__name__)


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
        self.path = path
        self.binding = dict(binding)
        self.read_only: str | None = None
        self._file: int | None = None
        self._lock: Lock | None = None
        self._take_lock()
        try:
            self.lines, self._size = _read(path, binding)
            if self.read_only is None and path.exists() and path.stat().st_size > self._size:
                os.truncate(path, self._size)  # or the next line would go on where the torn one ends
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> None:
        lock = Lock(self.path.with_suffix(".lock"))
        try:
            lock.__enter__()
        except BusyError:
            holder = read_json(lock.path) or {}
            raise BusyError(
                f"{self.path}: is open in another session (pid {holder.get('pid')} on {holder.get('host')}). "
                "Close that one, or review under another name: each author has a log."
            ) from None
        except OSError as error:
            self.read_only = str(unwritable(error, str(self.path.parent)) or error)
            return
        self._lock = lock

    def append(self, *lines: Line) -> None:
        """Add lines; when this returns they are on the disk, and when it raises the log is as it was.

        Raises
        ------
        NoSpaceError
            The disk is full.
        InputError
            The folder cannot be written, or another session has taken the log over.
        """
        if self.read_only is not None:
            raise InputError(f"edits cannot be saved: {self.read_only}")
        if self._lock is None or self._lock.lost.is_set():
            raise BusyError(f"{self.path}: is closed, or another session has taken it over. Open it again.")
        self._write(b"".join(_encoded(to_json(line)) for line in lines))
        self.lines.extend(lines)

    def _write(self, data: bytes) -> None:
        try:
            handle = self._open()
            if self._size == 0:
                header = {"kind": "edits", "version": VERSION, "made": now(), "binding": self.binding}
                data = _encoded(header) + data
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(handle, left) :]
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, self._size)  # which needs no room
                raise
        except OSError as error:
            named = unwritable(
                error, f"{self.path}: the edit was not saved; the log is as it was before, and"
            )
            raise named or InputError(f"{self.path}: the edit was not saved: {error}.") from None
        self._size += len(data)

    def _open(self) -> int:
        """The open file; OSError or an error of ours where the file on the disk is not the one we know."""
        if self._file is None:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            if new:
                folder = os.open(self.path.parent, os.O_RDONLY)
                os.fsync(folder)  # or a loss of power may lose the file's name
                os.close(folder)
        known = os.fstat(self._file)
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            there = None
        if there is None or there.st_ino != known.st_ino or there.st_size != self._size:
            raise OutputExistsError(
                f"{self.path}: was moved, deleted or changed by another program while this session had it "
                "open. Put it back and open the volume again; the edit was not saved."
            )
        return self._file

    def close(self) -> None:
        """Let other sessions have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._lock is not None:
            self._lock.__exit__(None, None, None)
            self._lock = None

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
    if not path.is_file():
        raise InputError(f"{path}: no such edit log.")
    return _read(path, binding)[0]


def log_path(folder: Path, author: str) -> Path:
    """Where an author's log lies; raises InputError where the name cannot be a file name."""
    if not _NAME.fullmatch(author):
        raise InputError(
            f"author {author!r}: names a file, so use letters, digits and . _ @ + - alone, a letter or digit "
            "first."
        )
    return folder / f"{author}.jsonl"


def _encoded(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _read(path: Path, binding: Mapping[str, Any] | None) -> tuple[list[Line], int]:
    """The lines, and how many bytes of the file are whole."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    whole = data[: data.rfind(b"\n") + 1]
    texts = whole.split(b"\n")[:-1]
    values = [_parsed(text) for text in texts]
    if values and values[-1] is None:  # a line of zeros is what a loss of power may leave
        values.pop()
        whole = whole[: len(whole) - len(texts[-1]) - 1]
    if len(whole) < len(data):
        log.warning(
            "%s: dropped the last %d bytes, of an edit that was never saved whole",
            path,
            len(data) - len(whole),
        )
    if not values:
        if len(data) > len(whole) and not _may_be_torn_header(data):
            raise FormatError(f"{path}: is no edit log; nothing was touched.")
        return [], 0
    _check_header(path, values[0], binding)
    return [_line(path, number, value) for number, value in enumerate(values[1:], 2)], len(whole)


def _may_be_torn_header(data: bytes) -> bool:
    begin = b'{"kind":"edits"'
    return data.startswith(begin) or begin.startswith(data) or not data.strip(b"\0\n")


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None


def _line(path: Path, number: int, value: Any) -> Line:
    if not isinstance(value, Mapping):
        raise FormatError(f"{path}, line {number}: is damaged. Restore the file, or remove that line.")
    try:
        return from_json(value)
    except FormatError as error:
        raise FormatError(f"{path}, line {number}: {error}") from None


def _check_header(path: Path, header: Any, binding: Mapping[str, Any] | None) -> None:
    if not isinstance(header, Mapping) or header.get("kind") != "edits" or "binding" not in header:
        raise FormatError(f"{path}: is no edit log: its first line does not say what it belongs to.")
    if header.get("version") != VERSION:
        raise FormatError(
            f"{path}: is an edit log of version {header.get('version')}, this program reads {VERSION}."
        )
    if binding is None:
        return
    found = differences(header["binding"], binding)
    if found:
        raise VolumeChangedError(
            f"{path}: was made on other fragments than those that are there now ({'; '.join(found)}). The "
            "log is as it was: open it with the segmentation that it was made on, or move it away."
        )
