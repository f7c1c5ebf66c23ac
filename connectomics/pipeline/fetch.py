"""Public data sets: what there is, and bringing their files here."""

import logging
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from connectomics.blockwise.progress import Progress
from connectomics.errors import FormatError, InputError, OutputExistsError, did_you_mean
from connectomics.io.files import read_json, write_json
from connectomics.io.settings import ConvertSettings
from connectomics.pipeline.convert import convert_volume
from connectomics.pipeline.download import Patience, download, hash_of
from connectomics.pipeline.settings import RunSettings
from connectomics.settings import Settings

_log = logging.getLogger(__name__)


class SourceFile(Settings):
    """One file of a data set."""

    name: str = Field(pattern=r"^[\w][\w.-]*$")
    """What it is called here: no path."""
    url: str
    """Where its owners publish it."""
    sha256: str = ""
    """Its hash, "" where not known."""
    holds: Literal["image", "labels", "affinities", "skeletons"]
    """What it is."""
    about: str = ""
    """Data set inside, shape, type."""


class DataSource(Settings):
    """A public data set; `data/README.md` says what each key means."""

    title: str
    """What it is, in a line."""
    modality: Literal["xray", "em"]
    """How it was imaged."""
    voxel_size: tuple[float, float, float]
    """nm, zyx."""
    licence: str
    """As its owners state it."""
    citation: str
    """How to cite it."""
    homepage: str
    """Where it is published."""
    note: str = ""
    """What else to know."""
    files: tuple[SourceFile, ...] = ()
    """What can be fetched."""


def list_sources(path: Path | None = None) -> dict[str, DataSource]:
    """The data sets that the project knows, by name."""
    package = Path(__file__).parents[1]
    places = (
        [path] if path else [package / "_data" / "sources.toml", package.parent / "data" / "sources.toml"]
    )
    for place in places:
        if place.is_file():
            return {name: DataSource(**table) for name, table in tomllib.loads(place.read_text()).items()}
    raise InputError(f"{places[-1]}: the list of data sets is missing. Install the package again.")


def cache_folder() -> Path:
    """Where fetched files go unless said otherwise: ``$XDG_CACHE_HOME/xray-connectomics``."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "xray-connectomics"


def fetch_data(
    source: str,
    names: Sequence[str],
    cache: Path | None,
    progress: Progress,
    patience: Patience | None = None,
    sources: dict[str, DataSource] | None = None,
) -> list[Path]:
    """Bring files of a data set to the cache folder; those that are there and right are left alone.

    Parameters
    ----------
    source
        Name of the data set.
    names
        Files of it; all when empty.
    cache
        Folder that holds one folder a data set.
    progress
        Told of the megabytes.
    patience
        When to give up on a server.
    sources
        The data sets known; the project's own by default.

    Returns
    -------
    list of Path
        The files, in the order of the list.

    Raises
    ------
    InputError
        No such data set or file.
    FormatError
        A file's hash is wrong.
    """
    known = list_sources() if sources is None else sources
    if source not in known:
        raise InputError(f"data set '{source}': no such data set.{did_you_mean(source, known)}")
    files = {file.name: file for file in known[source].files}
    for name in names:
        if name not in files:
            raise InputError(f"{source}: has no file '{name}'.{did_you_mean(name, files)}")
    if not files:
        raise InputError(f"{source}: has no file to fetch. {known[source].note}")
    folder = (cache or cache_folder()) / source
    return [_fetch(files[name], folder, progress, patience) for name in names or files]


def _fetch(file: SourceFile, folder: Path, progress: Progress, patience: Patience | None) -> Path:
    target, record = folder / file.name, folder / "sha256.json"
    recorded: dict[str, str] = read_json(record) or {}
    expected = file.sha256 or recorded.get(file.name, "")
    if target.is_file():
        found = hash_of(target)
        if found != expected and expected:
            raise FormatError(
                f"{target}: was damaged or replaced: its hash should be {expected} and is {found}. "
                "Remove it and fetch it again."
            )
    else:
        found = download(file.url, target, expected, progress, patience)
    if not expected:
        write_json(record, (read_json(record) or {}) | {file.name: found})
        _log.warning("%s: no hash is known for it; recorded %s, which holds from now on", target, found)
    return target


def convert_fetched(
    source: str, files: Sequence[Path], out: Path, run: RunSettings, progress: Progress
) -> dict[str, str]:
    """Convert fetched volumes to OME-Zarr (``out/NAME.zarr``); skeletons are left as they are.

    Returns
    -------
    dict
        File name -> OME-Zarr, for those converted or found converted.
    """
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{out}: is a file. Name a folder for the OME-Zarr volumes.")
    known = list_sources()[source]
    holds = {file.name: file.holds for file in known.files}
    converted = {}
    for path in files:
        if holds[path.name] == "skeletons":
            continue
        target = out / f"{path.stem}.zarr"
        settings = ConvertSettings(labels=holds[path.name] == "labels")
        convert_volume(str(path), target, settings, known.voxel_size, run, progress, channels=True)
        converted[path.name] = str(target)
    return converted
