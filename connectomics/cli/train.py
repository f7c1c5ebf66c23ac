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
    memory: str | None = None,
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
    memory
        Take the largest crop with which a training step fits in this memory, such as 8GB, in place of the
        recipe's crop, whose proportions it keeps (to a step of the network's divisor), at the
        recipe's batch; never larger than a training volume. Two small crops are measured for it. On a
        CPU it is the memory of the process, its volumes included, on CUDA that of the GPU. What validation
        takes is not part of it. The run's folder keeps the choice (crop.json), and a run that goes on keeps
        to it. With or without it, a step that runs out of memory is taken again with a smaller crop.
    overrides
        Replace a setting of the recipe, as section.key=value; may be given many times.
    """
    from connectomics.training.crop_choice import read_record
    from connectomics.training.settings import TrainSettings
    from connectomics.training.train import read_recipe
    from connectomics.training.train import train as run_training

    values = read_recipe(config, overrides or [])
    settings = TrainSettings.parse(values | ({"memory": memory} if memory else {}), str(config))
    folder = local_path(output or Path("runs") / config.stem, "--output")
    with session(report):
        model = run_training(settings, folder)
    chosen = read_record(folder)
    deliver({"model": str(model), "crop": settings.crop} | (chosen or {}), report, "train")
