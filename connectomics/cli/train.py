"""`connectomics train`: train a network from a TOML file."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from connectomics.cli.options import REPORT, Report, deliver
from connectomics.cli.session import session
from connectomics.io.place import local_path


def train(
    config: Path,
    *,
    output: Path | None = None,
    overrides: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    report: Report = REPORT,
) -> None:
    """Train a network from a TOML file; run again, it goes on where it stopped.

    Parameters
    ----------
    config
        The recipe; those that made the shipped models are in data/recipes. A folder of annotations that
        `adapt select` wrote holds one, too: name the folder.
    output
        Folder of the run. Default: runs/NAME-OF-CONFIG.
    overrides
        Replace a setting of the recipe, as section.key=value; may be given many times.
    """
    from connectomics.training.settings import TrainSettings
    from connectomics.training.train import read_recipe
    from connectomics.training.train import train as run_training

    settings = TrainSettings.parse(read_recipe(config, overrides or []), str(config))
    with session(report):
        model = run_training(settings, local_path(output or Path("runs") / config.stem, "--output"))
    deliver({"model": str(model)}, report, "train")
