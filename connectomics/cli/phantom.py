"""`connectomics phantom`: write a white-matter phantom."""

from typing import Annotated, Literal

from cyclopts import Parameter

from connectomics.cli.options import MEMORY, REPORT, RUN, Memory, Report, RunOptions, deliver
from connectomics.cli.session import session
from connectomics.phantom.settings import PhantomSettings
from connectomics.roi import int_triple

PHANTOM = PhantomSettings()


def phantom(
    out: str,
    *,
    shape: tuple[float, float, float],
    modality: Literal["xray", "em", "both"] = "xray",
    truth: bool = False,
    phantom: Annotated[PhantomSettings, Parameter(name="*", group="Phantom")] = PHANTOM,
    memory: Memory = MEMORY,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Write a white-matter phantom: OUT.zarr/xray, OUT.zarr/em, OUT.zarr/labels/truth, OUT.skeletons/.

    The same seed gives the same tissue whatever the shape and block, so a phantom can be terabytes.

    Parameters
    ----------
    out
        OME-Zarr group to write, on disk or in a bucket (s3://BUCKET/OUT.zarr).
    shape
        Voxels (z y x).
    modality
        Which images to write.
    truth
        Also write the voxel labels, and the skeletons beside the group.
    """
    from connectomics.pipeline.phantom import write_phantom

    products: list[str] = ["xray", "em"] if modality == "both" else [modality]
    if truth:
        products.append("labels/truth")
    with session(report) as display:
        size = int_triple(shape, "--shape")
        result = write_phantom(out, size, phantom, products, run, display, memory=memory.memory)
    deliver(result, report, "phantom")
