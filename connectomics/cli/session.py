"""What surrounds every command: logging, the progress display, the report at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from connectomics.cli.display import Display, set_up_logging
from connectomics.cli.options import ReportSettings, report_file


@contextmanager
def session(settings: ReportSettings) -> Iterator[Display]:
    """Set logging up and draw progress while the body runs; before, see that --json can be written."""
    if settings.json_file is not None:
        report_file(settings.json_file)
    set_up_logging(settings.verbose, settings.quiet)
    with Display(settings.quiet) as display:
        yield display
