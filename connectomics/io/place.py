"""A place to read from and write to: a local path, or the URL of something in a bucket or on a web server."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote

from connectomics.errors import InputError
from connectomics.io.remote import Connection, connection, missing_bucket

SCHEMES = ("s3", "gs", "http", "https")
_SQUEEZED = re.compile(rf"({'|'.join(SCHEMES)}):/", re.IGNORECASE)
PAGE = 1000
"""Objects in one list and in one deletion, as S3 has it."""
_PARALLEL = 32

T = TypeVar("T")
Version = dict[str, str]
"""What tells one version of an object from another: its tag, its number, or both."""


@dataclass(frozen=True, order=True)
class RemotePath:
    """An object or a prefix in a bucket, with the part of `pathlib.Path` that outputs need.

    Holds nothing but its URL, so it can be sent to workers; each process connects by itself.

    Attributes
    ----------
    url : str
        ``s3://BUCKET/KEY`` and the like, without a slash at the end.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url}/{name}")

    @property
    def root(self) -> str:
        """Scheme and bucket, or scheme and host."""
        return "/".join(self.url.split("/", 3)[:3])

    @property
    def key(self) -> str:
        """The path inside the bucket, ``""`` for the bucket itself."""
        key = self.url[len(self.root) + 1 :]
        return unquote(key) if self.url.startswith("http") else key

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> "RemotePath":
        """What it lies in."""
        return RemotePath(self.url.rpartition("/")[0]) if self.key else self

    def with_suffix(self, suffix: str) -> "RemotePath":
        """The same with another ending."""
        return self.parent / PurePosixPath(self.name).with_suffix(suffix).name

    @property
    def link(self) -> Connection:
        """This process's connection to the bucket."""
        return connection(self.root)

    def read_bytes(self) -> bytes:
        """The object's bytes; raises FileNotFoundError where there is none."""
        return self.read_version()[0]

    def read_version(self) -> tuple[bytes, Version]:
        """The object's bytes, and which version of it they are."""
        import obstore

        link = self.link

        def get() -> tuple[bytes, Version]:
            answer = obstore.get(link.store, self.key)
            return bytes(answer.bytes()), _version(answer.meta)

        return link.call(get)

    def write_bytes(
        self, data: bytes, mode: str | Version = "overwrite", *passing: type[Exception]
    ) -> Version:
        """Write the object whole, and say which version of it that is.

        Parameters
        ----------
        data
            All of it.
        mode
            ``"overwrite"``; ``"create"`` only where there is none; a version: only over that one.
        *passing
            Errors of obstore's that come as they are, such as those of the conditions.

        Raises
        ------
        InputError
            There is no such bucket, or it cannot be written.
        """
        import obstore

        link = self.link
        if link.read_only:
            raise InputError(f"{self}: a web server is read only. Write to a folder or a bucket.")

        def put() -> Version:
            return _version(obstore.put(link.store, self.key, data, mode=mode))  # type: ignore[arg-type]

        for _ in range(2):  # an upload in parts whose last answer was lost is "not found" too
            try:
                return link.call(put, *passing)
            except FileNotFoundError:
                continue
        raise missing_bucket(link)

    def is_file(self) -> bool:
        """True where there is an object of that name."""
        import obstore

        link = self.link
        try:
            link.call(lambda: obstore.head(link.store, self.key))
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """True where objects lie below it."""
        return next(iter(self._batches(1)), None) is not None

    def exists(self) -> bool:
        """True where there is an object of that name, or some below it."""
        return self.is_file() or (not self.link.read_only and self.is_dir())

    def iterdir(self) -> Iterator["RemotePath"]:
        """What lies directly below."""
        folders, objects = self._level()
        yield from (self / name for name in (*folders, *objects))

    def subfolders(self) -> list["RemotePath"]:
        """The folders directly below."""
        return [self / name for name in self._level()[0]]

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """The objects whose path below this one fits, part by part, such as ``*/*.json``."""
        parts = pattern.split("/")
        for inner in self.keys():
            given = inner.split("/")
            if len(given) == len(parts) and all(map(fnmatchcase, given, parts)):
                yield self / inner

    def keys(self) -> list[str]:
        """The path below this one of every object there."""
        return [inner for batch in self._batches(PAGE) for inner in batch]

    def remove(self) -> None:
        """Delete the object, and all below it."""
        remove_all([self, *(self / inner for inner in self.keys())])

    def _listable(self) -> Connection:
        if self.link.read_only:
            raise InputError(f"{self}: a web server cannot list what there is.")
        return self.link

    def _level(self) -> tuple[list[str], list[str]]:
        import obstore

        link = self._listable()
        try:
            found = link.call(lambda: obstore.list_with_delimiter(link.store, self.key or None))
        except FileNotFoundError:
            raise missing_bucket(link) from None
        names = [str(one).rpartition("/")[2] for one in found["common_prefixes"]]
        return names, [str(one["path"]).rpartition("/")[2] for one in found["objects"]]

    def _batches(self, size: int) -> Iterator[list[str]]:
        """Paths below this one, by the batch; a list that breaks off is taken up after the last path seen."""
        import obstore

        link = self._listable()
        skip = len(self.key) + 1 if self.key else 0
        last: str | None = None

        def after() -> list[str]:
            stream = obstore.list(link.store, self.key or None, offset=last, chunk_size=size)
            return [str(one["path"]) for one in next(iter(stream), [])]

        while True:
            try:
                paths = link.call(after)
            except FileNotFoundError:
                raise missing_bucket(link) from None
            if not paths:
                return
            yield [path[skip:] for path in paths]
            last = paths[-1]


def _version(known: Any) -> Version:
    return {key: known[key] for key in ("e_tag", "version") if known[key] is not None}


Place = Path | RemotePath
"""Where files are: both kinds take ``/``, `name`, `parent`, `exists`, `read_bytes` and so on."""


def is_url(text: str) -> bool:
    """True for a URL, whatever its scheme; ``c://x`` and ``./s3://x`` are local paths."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def as_place(where: str | Path | RemotePath) -> Place:
    """Tell a URL from a local path.

    Raises
    ------
    InputError
        A URL of a kind that is not read, without a bucket, or with one slash where two belong.
    """
    if isinstance(where, RemotePath):
        return where
    text = str(where)
    scheme = text.partition(":")[0].lower()
    if isinstance(where, str) and is_url(text):
        rest = text.partition("://")[2].strip("/")
        if scheme not in SCHEMES:
            raise InputError(
                f"{text}: this kind of address is not read. Give a local path, or a URL that starts with "
                f"{', '.join(f'{one}://' for one in SCHEMES)}."
            )
        if not rest or "?" in rest or "#" in rest or "//" in rest:
            raise InputError(f"{text}: expected {scheme}://BUCKET-OR-HOST/PATH.")
        return RemotePath(f"{scheme}://{rest}")
    if _SQUEEZED.match(text):
        raise InputError(f"{text}: is it a URL? Write {scheme}://..., or ./{text} for a local path.")
    path = Path(text)
    return path.absolute() if _SQUEEZED.match(str(path)) else path  # "./" told; it would not the next time


def local_path(where: Path, what: str) -> Path:
    """`where`, refused where it looks like a URL: `what` is written to local files alone."""
    if _SQUEEZED.match(str(where)):
        raise InputError(f"{what} {where}: is written to a local file, not to a URL.")
    return where


def subfolders(place: Place) -> list[Path] | list[RemotePath]:
    """The folders directly below a place, none where there is no such place."""
    return place.subfolders() if isinstance(place, RemotePath) else sorted(place.glob("*/"))


def remove(place: Place) -> None:
    """Delete a file or a folder with all in it, if it is there."""
    if isinstance(place, RemotePath):
        place.remove()
    elif place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def remove_all(paths: Sequence[RemotePath]) -> None:
    """Delete objects of one bucket, many at a time; those that are not there are no error."""
    import obstore

    for start in range(0, len(paths), PAGE):
        some = paths[start : start + PAGE]
        link = some[0].link
        keys = [path.key for path in some]
        try:
            link.call(lambda link=link, keys=keys: obstore.delete(link.store, keys))  # type: ignore[misc]
        except FileNotFoundError:
            if len(some) > 1:
                for one in some:
                    remove_all([one])


def read_each(paths: Iterable[Path | RemotePath], read: Callable[[Any], T]) -> list[T]:
    """``read(path)`` of every path, in order; those in a bucket many at a time."""
    listed = list(paths)
    if not listed or isinstance(listed[0], Path):
        return [read(path) for path in listed]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(read, listed))
