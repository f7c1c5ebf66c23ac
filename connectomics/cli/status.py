"""`connectomics status`: how far a run is."""

from connectomics.cli.options import REPORT, Report, deliver


def status(out: str, *, report: Report = REPORT) -> None:
    """Say how far the runs on an output are: blocks done and failed, seconds a block, the worst blocks.

    Parameters
    ----------
    out
        OME-Zarr group that a command writes, on disk or in a bucket.
    """
    from connectomics.blockwise.status import read_status

    deliver(read_status(out), report, out)
