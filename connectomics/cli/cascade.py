"""`connectomics cascade`: look closely only where it pays."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from connectomics.cli.options import REGION, REPORT, Region, Report, deliver
from connectomics.cli.segment import NETWORK, Network
from connectomics.cli.session import session
from connectomics.io.place import local_path

cascade = App(name="cascade", help="Coarse-to-fine detection: calibrate a cascade, plan a run with it.")


@cascade.command
def calibrate(
    config: Path,
    out: Path,
    *,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    network: Network = NETWORK,
    report: Report = REPORT,
) -> None:
    """Choose thresholds that keep a promised recall, and measure what each level costs.

    The cascade file that is written goes to segment, predict and translate as --cascade. Objects, not chunks,
    are what the recall counts: errors of levels, and of chunks of one object, may depend on each other.

    Parameters
    ----------
    config
        TOML file: detectors, promise, labelled volumes (see data/recipes/xnh-cascade.toml).
    out
        Cascade file to write (JSON).
    overwrite
        Replace the file if it is there.
    """
    from connectomics.pipeline.cascade import calibrate_cascade

    with session(report) as display:
        result = calibrate_cascade(config, local_path(out, "OUT"), overwrite, network, display)
    deliver(result, report, "cascade calibrate")


@cascade.command
def plan(
    volume: str,
    *,
    cascade: str,
    sample: int = 512,
    seed: int = 0,
    region: Region = REGION,
    network: Network = NETWORK,
    report: Report = REPORT,
) -> None:
    """Say what a cascade will cost on a volume, before anything is run: calls, time, GB, and whether it pays.

    Parameters
    ----------
    volume
        Path or URL of the volume; with a pyramid only the coarse levels are read.
    cascade
        Cascade file, or name of a shipped cascade.
    sample
        Coarsest chunks to look at, drawn at random; all, where there are no more.
    seed
        Of that draw.
    """
    from connectomics.pipeline.cascade import plan_run

    with session(report) as display:
        result = plan_run(volume, region, cascade, sample, seed, network, display)
    lines = [
        f"level {one['level']}: {one['calls']:.0f} of {one['chunks']} chunks "
        f"({one['calls_low']:.0f} to {one['calls_high']:.0f})"
        for one in result["levels"]
    ]
    shown = {key: value for key, value in result.items() if key != "levels"}
    deliver(result, report, "cascade plan", shown=shown, below=lines)
