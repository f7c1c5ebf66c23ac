"""`connectomics submit`: pack a segmentation for the XPRESS challenge."""

from pathlib import Path

from connectomics.cli.options import REGION, REPORT, Region, Report, deliver
from connectomics.cli.session import session
from connectomics.evaluation.settings import Split


def submit(
    segmentation: str,
    out: Path,
    *,
    split: Split = "test",
    overwrite: bool = False,
    region: Region = REGION,
    report: Report = REPORT,
) -> None:
    """Pack a segmentation as an XPRESS submission, and check the zip before it appears.

    The challenge's region is cropped, every k-th voxel taken (99 nm), the labels cast to uint64. The zip is
    read back and checked for all that the official check looks at and all that makes the scorer fail.

    Parameters
    ----------
    segmentation
        Labels at 33 or 99 nm (or any size that divides 99), such as out.zarr/labels/segmentation.
    out
        The zip to write.
    split
        Region of the challenge: only test can be uploaded; the others are to score.
    overwrite
        Replace the zip if it is there.
    """
    from connectomics.pipeline.submit import pack_submission

    with session(report) as display:
        result = pack_submission(segmentation, out, split, region, overwrite, display)
    deliver(result, report, "XPRESS submission")
