"""`connectomics evaluate`: compare a segmentation with truth."""

from connectomics.cli.options import POOL, REGION, REPORT, PoolOptions, Region, Report, deliver
from connectomics.cli.session import session


def evaluate(
    segmentation: str,
    truth: str,
    *,
    mask: str | None = None,
    worst: int = 0,
    region: Region = REGION,
    run: PoolOptions = POOL,
    report: Report = REPORT,
) -> None:
    """Compare a segmentation with truth: a label volume (VOI, Rand) or skeletons (ERL, NERL).

    Voxels with truth 0 or outside the mask are left out; predicted 0 counts as one label.

    Parameters
    ----------
    segmentation
        Label volume, such as out.zarr/labels/segmentation.
    truth
        Label volume, or skeletons: SWC file or folder, npz, or the XPRESS pickle.
    mask
        Volume; only where it is non-zero is compared.
    worst
        List this many of the objects that lose most.
    """
    from connectomics.pipeline.evaluate import evaluate_segmentation

    with session(report) as display:
        result = evaluate_segmentation(segmentation, truth, mask, region, worst, run, display)
    deliver(result, report, "evaluate")
