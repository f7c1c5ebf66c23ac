"""What surrounds every command: logging, the progress display, the report at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from connectomics.cli.display import Display, set_up_logging
from connectomics.cli.options import ReportSettings


@contextmanager
def session(settings: ReportSettings) -> Iterator[Display]:
    """Set logging up as asked and draw progress while the body runs."""
    set_up_logging(settings.verbose, settings.quiet)
    with Display(settings.quiet) as display:
        yield display
