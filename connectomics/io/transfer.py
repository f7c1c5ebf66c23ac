"""Small files brought from a bucket for readers that know paths alone, and folders sent to one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from connectomics.errors import InputError, OutputExistsError
from connectomics.io.place import RemotePath, read_each


@contextmanager
def fetched(place: RemotePath, suffix: str) -> Iterator[Path]:
    """A local copy of one object, or of the objects directly below a prefix whose names end in `suffix`.

    Raises
    ------
    InputError
        There is neither.
    """
    with TemporaryDirectory(prefix="connectomics-") as folder:
        target = Path(folder) / place.name
        try:
            target.write_bytes(place.read_bytes())
        except FileNotFoundError:
            children = [] if place.link.read_only else list(place.iterdir())
            wanted = [child for child in children if child.name.endswith(suffix)]
            if not wanted:
                raise InputError(f"{place}: no such object, and no {suffix} below it.") from None
            target.mkdir()
            for child, data in zip(wanted, read_each(wanted, RemotePath.read_bytes), strict=True):
                (target / child.name).write_bytes(data)
        yield target


def upload(folder: Path, place: RemotePath) -> None:
    """Copy a folder's files into a bucket, those at its top last: they say that the rest is there.

    Raises
    ------
    OutputExistsError
        Something else is there than what an upload that broke off would have left.
    """
    files = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: (-len(p.parts), p.name))
    names = [path.relative_to(folder).as_posix() for path in files]
    there = set(place.keys())
    if there and (not there < set(names) or names[-1] in there):
        raise OutputExistsError(
            f"{place}: exists already; nothing was touched. Use --overwrite to replace it."
        )
    for name, path in zip(names, files, strict=True):
        (place / name).write_bytes(path.read_bytes())
