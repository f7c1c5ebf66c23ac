"""`connectomics doctor`: look this machine over."""

from connectomics.cli.options import REGION, REPORT, RUN, Region, Report, RunOptions, deliver
from connectomics.cli.segment import NETWORK, Network
from connectomics.cli.session import session
from connectomics.errors import RunFailed


def doctor(
    volume: str | None = None,
    *,
    model: str | None = None,
    region: Region = REGION,
    network: Network = NETWORK,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Say what a run would find on this machine: packages, device, memory, disk, cluster, volume, tiles.

    Exits 1 when something is found that would make a run fail. Takes the options of `segment`, so put them as
    you would there.

    Parameters
    ----------
    volume
        Also look at this volume: axes, voxel size, whether it holds an image.
    model
        Also say which tiles this model would run in over the volume, and why.
    """
    from connectomics.pipeline.doctor import examine, summary

    with session(report):
        findings = examine(volume, model, region, network, run)
    deliver(summary(findings), report, "doctor")
    wrong = [one for one in findings if one.state == "bad"]
    if wrong:
        raise RunFailed("; ".join(f"{one.what}: {one.text}" for one in wrong))
