"""Options that every command takes, and the report that every command can write."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from connectomics.errors import OutputExistsError
from connectomics.io.place import local_path
from connectomics.pipeline.settings import PoolSettings, RegionSettings, RunSettings
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
PoolOptions = Annotated[PoolSettings, Parameter(name="*", group="Run")]
Report = Annotated[ReportSettings, Parameter(name="*", group="Report")]

REGION = RegionSettings()
RUN = RunSettings()
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
    if settings.json_file is not None:
        text = json.dumps(report, indent=2) + "\n"
        try:
            local_path(settings.json_file, "--json").write_text(text)
        except OSError as error:
            raise OutputExistsError(f"--json {settings.json_file}: cannot write it: {error}.") from None
    if not settings.quiet:
        table = Table(title=title, show_header=False, title_justify="left")
        for key, value in (report if shown is None else json_ready(shown)).items():
            table.add_row(key, _shown(value))
        console = Console()
        console.print(table)
        for line in below:
            console.print(line, highlight=False, markup=False)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping | list):
        text = json.dumps(value)
        return text if len(text) < 400 else text[:397] + "..."
    return str(value)
