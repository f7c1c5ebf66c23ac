"""Download one file: resumed where it broke off, retried when it stalls, checked by its hash."""

import fcntl
import hashlib
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any

from connectomics import __version__
from connectomics.blockwise.progress import Progress
from connectomics.errors import BusyError, FormatError, InputError, RunFailed
from connectomics.io.files import read_json, write_json
from connectomics.io.staging import unwritable

MEGABYTE = 1_000_000
_PIECE = 1 << 18
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Attributes
    ----------
    stall_seconds : float
        Silence after which a connection is given up.
    attempts : int
        Connections in a row that may bring nothing new before the download fails.
    pause_seconds : float
        Wait before the second attempt; doubled for each further one.
    """

    stall_seconds: float = 30.0
    attempts: int = 5
    pause_seconds: float = 1.0


def download(
    url: str, target: Path, sha256: str, progress: Progress, patience: Patience | None = None
) -> str:
    """Fetch `url` to `target`, which appears only when it is whole and its hash is right.

    What an interrupted download left (``<target>.part``) is gone on with, if the server still has that file.

    Parameters
    ----------
    url
        http or https.
    target
        Where the file goes.
    sha256
        Expected hash, hexadecimal; "" takes any.
    progress
        Told of the megabytes received.
    patience
        When to give up.

    Returns
    -------
    str
        The hash of the file.

    Raises
    ------
    RunFailed
        The server cannot be reached, stalls or breaks off again and again; what came is kept.
    FormatError
        The bytes are wrong; they are removed.
    BusyError
        Another process is fetching the same file.
    """
    if not url.startswith(("https://", "http://")):
        raise InputError(f"{url}: only http and https are fetched.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with _alone(part) as stream:
            _receive(url, stream, part, progress, patience or Patience())
            found = hash_of(part)
            if (sha256 and found != sha256) or not _plausible(part):
                part.unlink()
                raise FormatError(_wrong(url, found, sha256))
            part.replace(target)
            _notes(part).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(error, str(target)) or error from None
    return found


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _wrong(url: str, found: str, sha256: str) -> str:
    what = f"the hash should be {sha256} and is {found}" if sha256 else "it is no HDF5 file"
    return (
        f"{url}: the server sent wrong bytes: {what}. They were removed. Try again later; if it stays so, "
        "the published file has changed."
    )


def _plausible(path: Path) -> bool:
    """False for an HDF5 name over something else, such as the error page of a proxy."""
    with path.open("rb") as stream:
        return ".h5" not in path.suffixes or stream.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC


@contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """Open the unfinished file, kept from other processes."""
    with part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{part}: another process is fetching this file.") from None
        yield stream


def _receive(url: str, stream: IO[bytes], part: Path, progress: Progress, patience: Patience) -> None:
    """Bring the unfinished file to its full length."""
    step, barren, began = f"fetch {part.stem}", 0, False
    told = 0
    while True:
        before = stream.tell()
        try:
            with _connect(url, before, part, patience) as answer:
                total = _start(answer, stream, part, url)
                if not began:
                    progress.start(step, -(-total // MEGABYTE), stream.tell() // MEGABYTE, unit="MB")
                    told, began = stream.tell() // MEGABYTE, True
                while piece := answer.read(_PIECE):
                    stream.write(piece)
                    progress.advance(step, stream.tell() // MEGABYTE - told)
                    told = stream.tell() // MEGABYTE
                stream.flush()
                if not total or stream.tell() >= total:
                    progress.advance(step, max(0, -(-total // MEGABYTE) - told))
                    progress.finish(step)
                    return
                reason = f"broke off after {stream.tell()} of {total} bytes"
        except urllib.error.HTTPError as error:
            reason = f"answered {error.code} {error.reason}"
            if error.code == 416:  # what is here is longer than the file, or is all of it
                stream.truncate(0)
            elif error.code < 500 and error.code != 429:
                raise InputError(f"{url}: the server {reason}. Check the address.") from None
        except (OSError, HTTPException) as error:
            if isinstance(error, OSError) and unwritable(error, str(part)):
                raise
            reason = f"{getattr(error, 'reason', None) or error or type(error).__name__}"
        stream.seek(0, 2)
        barren = 0 if stream.tell() > before else barren + 1
        if barren >= patience.attempts:
            raise RunFailed(
                f"{url}: {reason}; gave up after {barren} attempts that brought nothing. What came "
                f"({stream.tell()} bytes) is kept: run the same command again to go on."
            )
        _log.warning("%s: %s; trying again", url, reason)
        time.sleep(patience.pause_seconds * 2 ** max(0, barren - 1))


def _connect(url: str, have: int, part: Path, patience: Patience) -> Any:
    """Ask for the file from byte `have` on, if it is still the one that was begun."""
    headers = {"User-Agent": f"xray-connectomics/{__version__}", "Accept-Encoding": "identity"}
    noted = read_json(_notes(part)) or {}
    if have and noted.get("url") == url and noted.get("validator"):
        headers |= {"Range": f"bytes={have}-", "If-Range": noted["validator"]}
    request = urllib.request.Request(url, headers=headers)
    return urllib.request.urlopen(request, timeout=patience.stall_seconds)


def _start(answer: HTTPResponse, stream: IO[bytes], part: Path, url: str) -> int:
    """Keep what is here if the server goes on from there, else begin anew; return the length (0: unknown)."""
    headers = answer.headers
    length = int(headers.get("Content-Length") or 0)
    if answer.status == 206 and (headers.get("Content-Range") or "").startswith(f"bytes {stream.tell()}-"):
        return stream.tell() + length
    stream.truncate(0)
    stream.seek(0)
    validator = headers.get("ETag") or headers.get("Last-Modified") or ""
    if validator.startswith("W/"):  # a weak one does not promise the same bytes
        validator = headers.get("Last-Modified") or ""
    write_json(_notes(part), {"url": url, "validator": validator})
    return length


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")
