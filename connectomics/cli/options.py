"""Options that every command takes, and the report that every command can write."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectomics.errors import OutputExistsError
from connectomics.io.files import REPORT_OF
from connectomics.io.place import local_path
from connectomics.pipeline.settings import MemorySettings, PoolSettings, RegionSettings, RunSettings
from connectomics.settings import Settings


class ReportSettings(Settings):
    """What a command says, and where."""

    json_file: Annotated[Path | None, Parameter(name="--json")] = None
    """Write the command's report to this file, machine-readable."""
    verbose: Annotated[bool, Parameter(negative="")] = False
    """Say more."""
    quiet: Annotated[bool, Parameter(negative="")] = False
    """Say nothing but errors."""


Region = Annotated[RegionSettings, Parameter(name="*", group="Input")]
RunOptions = Annotated[RunSettings, Parameter(name="*", group="Run")]
Memory = Annotated[MemorySettings, Parameter(name="*", group="Run")]
PoolOptions = Annotated[PoolSettings, Parameter(name="*", group="Run")]
Report = Annotated[ReportSettings, Parameter(name="*", group="Report")]

REGION = RegionSettings()
RUN = RunSettings()
MEMORY = MemorySettings()
POOL = PoolSettings()
REPORT = ReportSettings()


def deliver(
    report: Mapping[str, Any],
    settings: ReportSettings,
    title: str,
    *,
    shown: Mapping[str, Any] | None = None,
    below: Sequence[str] = (),
) -> None:
    """Print a report (or `shown` of it) and the lines `below` as text, and write it as JSON where asked."""
    from connectomics.evaluation.scores import json_ready

    report = json_ready(report)
    path = None if settings.json_file is None else report_file(settings.json_file)
    if not settings.quiet:
        table = Table(title=Text(title), show_header=False, title_justify="left")
        for key, value in (report if shown is None else json_ready(shown)).items():
            table.add_row(Text(key), Text(_shown(value)))
        console = Console(markup=False, emoji=False, highlight=False)
        console.print(table)
        for line in below:
            console.print(line)
    if path is not None:
        try:
            path.write_text(json.dumps({**report, REPORT_OF: title}, indent=2) + "\n")
        except OSError as error:
            raise OutputExistsError(f"--json {path}: cannot write it: {error}.") from None


def report_file(path: Path) -> Path:
    """The file that --json names, if a report can be written there: it is new, or an earlier report.

    Raises
    ------
    OutputExistsError
        It holds something else, which is not touched; or its folder is not there or cannot be written.
    """
    path = local_path(path, "--json")
    if path.is_dir() or (path.exists() and not _is_report(path)):
        raise OutputExistsError(
            f"--json {path}: holds something else than a report; nothing was touched. Name another file, or "
            "remove it if it is a report of an earlier version."
        )
    if not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputExistsError(f"--json {path}: cannot be written there. Name a file in a folder that can.")
    return path


def _is_report(path: Path) -> bool:
    """An empty file, or a report: an object in JSON that says so."""
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if text.strip() else {REPORT_OF: ""}
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and REPORT_OF in values


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping | list):
        text = json.dumps(value)
        return text if len(text) < 400 else text[:397] + "..."
    return str(value)
