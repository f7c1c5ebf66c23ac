"""`connectomics models`: the models at hand."""

import shutil
from pathlib import Path

from cyclopts import App

from connectomics.cli.options import REPORT, Report, deliver
from connectomics.errors import OutputExistsError

models = App(name="models", help="List, show and export the models at hand.")


@models.command(name="list")
def list_(*, report: Report = REPORT) -> None:
    """List the shipped models: task, modality, voxel size and what they are for."""
    from connectomics.networks.models import list_models

    rows = {
        model.weights.parent.name: f"{model.contract.task}, {model.contract.modality}, "
        f"{model.contract.voxel_size} nm: {model.contract.description}"
        for model in list_models()
    }
    deliver(rows, report, "models")


@models.command
def show(name: str, *, report: Report = REPORT) -> None:
    """Show a model's contract: architecture, training data, licence, scores.

    Parameters
    ----------
    name
        Name of a shipped model or path of a model folder.
    """
    from connectomics.networks.models import find_model

    model = find_model(name)
    contract = model.contract.model_dump(mode="json")
    deliver(contract | {"weights": str(model.weights), "sha256": model.sha256}, report, name)


@models.command
def export(name: str, folder: Path) -> None:
    """Copy a model (weights and contract) to a folder.

    Parameters
    ----------
    name
        Name of a shipped model or path of a model folder.
    folder
        Where to put it; must not exist.
    """
    from connectomics.networks.models import find_model

    model = find_model(name)
    if folder.exists():
        raise OutputExistsError(f"{folder}: exists already. Choose another folder.")
    shutil.copytree(model.weights.parent, folder)
