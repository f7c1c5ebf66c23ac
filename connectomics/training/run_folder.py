"""The folder of a training run: taken, resumed or refused, and given back where the run never began."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectomics.errors import InputError, OutputExistsError, SettingsError
from connectomics.io.files import write_atomically
from connectomics.io.place import remove
from connectomics.networks.models import CONTRACT_FILE
from connectomics.training.callbacks import LAST
from connectomics.training.settings import TrainSettings

RECORD = "settings.json"

BESIDE = {".toml", ".log", ".out", ".err", ".txt", ".md"}
"""Files that may lie in a run's folder before it begins."""

_FREE = {"max_minutes", "device", "checkpoint_every", "log_every", "compile", "channels_last"}
"""Settings that a resumed run may change."""


@contextmanager
def claimed(folder: Path, settings: TrainSettings) -> Iterator[bool]:
    """Hold the folder for this run; yields True if the run is complete already.

    Where the input turns out to be wrong before anything was learnt, the folder is left as it was found, so
    that the corrected run may have it.

    Raises
    ------
    OutputExistsError
        The folder holds another run, or something else.
    """
    existed, began = folder.exists(), not (folder / RECORD).exists()
    before = set(folder.iterdir()) if folder.is_dir() else set()
    complete = claim(folder, settings)
    try:
        yield complete
    except InputError:
        if began and not _learnt(folder):
            for path in set(folder.iterdir()) - before:
                remove(path)
            if not existed:
                remove(folder)
        raise


def claim(folder: Path, settings: TrainSettings) -> bool:
    """Take the folder for this run; True if the run is complete already."""
    values = json.loads(settings.model_dump_json(exclude=_FREE))
    if (folder / RECORD).exists():
        record = _read(folder)
        if not settings.has_skeletons() and isinstance(record.get("truth"), dict):
            # its default has changed, and without skeletons it was nothing to the run
            record["truth"]["painted_share"] = values["truth"]["painted_share"]
        truth = record.get("truth")
        if isinstance(truth, dict) and "certainty" not in truth:  # whole fragments took a name then
            truth["certainty"] = 0.0 if truth.get("method") == "pseudo" else values["truth"]["certainty"]
        there = _completed(record)
        differing = sorted(k for k in values.keys() | there.keys() if values.get(k) != there.get(k))
        if differing:
            raise OutputExistsError(
                f"{folder}: holds a run with other settings ({', '.join(differing)}). Choose "
                "another --output, or remove it."
            )
    elif folder.exists() and not (folder.is_dir() and all(map(_may_stay, folder.iterdir()))):
        raise OutputExistsError(
            f"{folder}: holds something else than a training run (no {RECORD}). Choose another --output."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECORD, (json.dumps(values, indent=2) + "\n").encode())
    return (folder / "model" / CONTRACT_FILE).exists()


def _may_stay(path: Path) -> bool:
    """True for recipes, logs and notes, and for a record that another process of this run is writing."""
    return path.name.startswith(f".{RECORD}.") or (path.is_file() and path.suffix in BESIDE)


def _read(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise OutputExistsError(
            f"{folder / RECORD}: is damaged, so nobody can tell which run the folder holds. Choose another "
            "--output, or remove the folder."
        ) from None


def _completed(values: dict[str, Any]) -> dict[str, Any]:
    """A run's settings with what has been added since at its default."""
    try:
        return dict(json.loads(TrainSettings.parse(values).model_dump_json(exclude=_FREE)))
    except SettingsError:
        return values


def _learnt(folder: Path) -> bool:
    """True where a checkpoint or a network was saved, by the run or by a member of its ensemble."""
    return any(any(folder.rglob(name)) for name in (LAST, CONTRACT_FILE))
