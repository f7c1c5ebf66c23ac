"""`connectomics export`: write a segmentation with its edit log applied."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from connectomics.cli.options import MEMORY, REPORT, RUN, Memory, Report, RunOptions, deliver
from connectomics.cli.session import session


def export(
    out: str,
    dst: str,
    *,
    log: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")] = None,
    author: str | None = None,
    memory: Memory = MEMORY,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Write the segmentation of OUT.zarr with its edit logs applied, as an OME-Zarr; resumes when run again.

    All logs in OUT.zarr/edits count, each author's. Where they contradict each other, nothing is written, and
    the conflicts are named (exit 2).

    Parameters
    ----------
    out
        OME-Zarr group that `segment` wrote.
    dst
        OME-Zarr label image to write, on disk or in a bucket (s3://BUCKET/OUT.zarr).
    log
        More edit logs of the same segmentation, such as those of other people.
    author
        Of the logs in OUT.zarr/edits, take this author's alone.
    """
    from connectomics.pipeline.export import export_segmentation

    with session(report) as display:
        result = export_segmentation(
            out, dst, log or [], author=author, memory=memory.memory, run_settings=run, progress=display
        )
    deliver(result, report, "export")
