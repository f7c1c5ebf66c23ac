"""`connectomics doctor`: look this machine over."""

from typing import Annotated

from cyclopts import Parameter

from connectomics.cli.options import REGION, REPORT, RUN, Region, Report, RunOptions, deliver
from connectomics.cli.segment import NETWORK, Network, Segmentation
from connectomics.cli.session import session
from connectomics.errors import RunFailed


def doctor(
    volume: str | None = None,
    *,
    model: str | None = None,
    rescale: Annotated[bool, Parameter(negative="")] = False,
    cascade: str | None = None,
    region: Region = REGION,
    network: Network = NETWORK,
    segmentation: Segmentation = None,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Say what a run would find on this machine: packages, device, memory, disk, cluster, volume, tiles.

    Exits 1 when something is found that would make a run fail. Takes the options of `segment` that decide
    that, so put them as you would there.

    Parameters
    ----------
    volume
        Also look at this volume: axes, voxel size, whether it holds an image.
    model
        Also say which tiles this model would run in over the volume, and why.
    rescale
        Resample the input to the model's voxel size.
    cascade
        Cascade file, or name of a shipped cascade: whether it is for this volume.
    """
    from connectomics.pipeline.doctor import Asked, examine, summary

    given = {} if segmentation is None else segmentation.model_dump(exclude_unset=True)
    with session(report):
        findings = examine(Asked(volume, model, region, network, run, rescale, cascade, given))
    deliver(summary(findings), report, "doctor")
    wrong = [one for one in findings if one.state == "bad"]
    if wrong:
        raise RunFailed("; ".join(f"{one.what}: {one.text}" for one in wrong))
