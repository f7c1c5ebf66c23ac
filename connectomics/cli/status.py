"""`connectomics status`: how far a run is."""

from pathlib import Path

from connectomics.cli.options import REPORT, Report, deliver


def status(out: Path, *, report: Report = REPORT) -> None:
    """Say how far the runs on an output are: blocks done and failed, seconds a block, the worst blocks.

    Parameters
    ----------
    out
        OME-Zarr group that a command writes.
    """
    from connectomics.blockwise.status import read_status

    deliver(read_status(out), report, str(out))
