"""`connectomics demo`: the main job on a phantom."""

from pathlib import Path

from connectomics.cli.options import REPORT, RUN, Report, RunOptions, deliver
from connectomics.cli.session import session
from connectomics.io.place import local_path


def demo(
    *,
    output: Path = Path("demo-output"),
    seed: int = 2000,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Make a phantom, segment it with the shipped model, score it, draw it: report.json and report.png.

    Parameters
    ----------
    output
        Folder to write.
    seed
        Seed of the phantom. The model was trained on 0-999; the seeds kept for reporting are 2000-2099.
    """
    from connectomics.pipeline.demo import run_demo

    with session(report) as display:
        result = run_demo(local_path(output, "--output"), seed, run, display)
    deliver(result | {"picture": str(output / "report.png")}, report, "demo")
