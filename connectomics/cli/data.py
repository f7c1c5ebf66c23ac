"""`connectomics data`: public data sets."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from connectomics.cli.options import REPORT, RUN, Report, RunOptions, deliver
from connectomics.cli.session import session
from connectomics.io.place import local_path

data = App(name="data", help="List and fetch public data sets.")


@data.command(name="list")
def list_(*, report: Report = REPORT) -> None:
    """List the public data sets that can be fetched: what they are, their licence, their files."""
    from connectomics.pipeline.fetch import list_sources

    sources = list_sources()
    shown = {
        name: f"{one.title}. Licence: {one.licence}. "
        f"Files: {', '.join(file.name for file in one.files) or one.note}"
        for name, one in sources.items()
    }
    found = {name: one.model_dump(mode="json") for name, one in sources.items()}
    deliver(found, report, "data sets", shown=shown)


@data.command
def fetch(
    source: str,
    *files: str,
    cache: Path | None = None,
    zarr: Annotated[Path | None, Parameter(name="--zarr")] = None,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Fetch a public data set from where its owners publish it; resumes, and checks every file's hash.

    Parameters
    ----------
    source
        Name of the data set, as `connectomics data list` shows it.
    files
        Files of it. Default: all.
    cache
        Folder that keeps the files. Default: ~/.cache/xray-connectomics.
    zarr
        Also convert the volumes to OME-Zarr, with pyramids, into this folder.
    """
    from connectomics.pipeline.fetch import convert_fetched, fetch_data

    for option, folder in (("--cache", cache), ("--zarr", zarr)):
        if folder is not None:
            local_path(folder, option)
    with session(report) as display:
        found = fetch_data(source, files, cache, display)
        converted = convert_fetched(source, found, zarr, run, display) if zarr else {}
    deliver({"files": [str(path) for path in found], "converted": converted}, report, source)
