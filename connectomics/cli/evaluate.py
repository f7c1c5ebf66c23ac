"""`connectomics evaluate`: compare a segmentation, or a translation, with truth."""

from typing import Annotated

from cyclopts import Parameter

from connectomics.cli.options import POOL, REGION, REPORT, PoolOptions, Region, Report, deliver
from connectomics.cli.session import session
from connectomics.evaluation.settings import CompareSettings

Compare = Annotated[CompareSettings, Parameter(name="*", group="Parameters")]
COMPARE = CompareSettings()


def evaluate(
    segmentation: str,
    truth: str,
    *,
    compare: Compare = COMPARE,
    region: Region = REGION,
    run: PoolOptions = POOL,
    report: Report = REPORT,
) -> None:
    """Compare a segmentation with truth: a label volume (VOI, Rand) or skeletons (ERL, NERL).

    Voxels with truth 0 or outside the mask are left out; predicted 0 counts as one label.

    A translation is compared with the real EM: PSNR, SSIM, L1, power spectrum and membranes, and where
    aleatoric and epistemic lie beside it, the coverage of its intervals and how it ranks the worst errors.
    These do not track segmentation. So segment the X-ray, its translation and the real EM by one recipe, and
    give all three, the X-ray's as --direct and the EM's as --real: the verdict says what translation won.

    Parameters
    ----------
    segmentation
        Label volume, such as out.zarr/labels/segmentation; or what translate wrote, OUT.zarr or OUT.zarr/em,
        known by its attributes; or with --image any grey image.
    truth
        Label volume, or skeletons: SWC file or folder, npz, or the XPRESS pickle; for a translation the real
        EM on the same voxels.
    """
    from connectomics.pipeline.evaluate import evaluate_segmentation

    with session(report) as display:
        result = evaluate_segmentation(segmentation, truth, compare, region, run, display)
    deliver(result, report, "evaluate")
