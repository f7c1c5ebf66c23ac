"""`connectomics models`: the models at hand."""

import shutil
from pathlib import Path

from cyclopts import App

from connectomics.cli.options import REPORT, Report, deliver
from connectomics.cli.session import session
from connectomics.errors import OutputExistsError
from connectomics.io.staging import appearing

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
    """Show a model's contract and cost, or what an architecture costs as it comes.

    The cost: parameters, operations_per_voxel (floating-point operations of prediction, a multiply-add being
    two), training_bytes_per_voxel and inference_bytes_per_voxel (float32 tensors alive at once),
    training_bytes_fixed (weights, gradients, optimiser, averaged weights) and receptive_field (voxels z y x).

    Parameters
    ----------
    name
        Name of a shipped model, path of a model folder, or an architecture such as ReversibleUNet.
    """
    from dataclasses import asdict

    from connectomics.errors import ModelError
    from connectomics.networks.build import ARCHITECTURES
    from connectomics.networks.contract import NetworkSettings
    from connectomics.networks.cost import cost_of
    from connectomics.networks.models import find_model

    if name in ARCHITECTURES:
        network = NetworkSettings(name=name, parameters=ARCHITECTURES[name].defaults)
        what = {"network": network.model_dump(mode="json"), "in_channels": 1, "out_channels": 3}
        deliver(what | asdict(cost_of(network, 1, 3)), report, name)
        return
    try:
        model = find_model(name, "model")
    except ModelError as error:
        raise ModelError(f"{error} Architectures: {', '.join(sorted(ARCHITECTURES))}.") from None
    contract = model.contract
    cost = asdict(cost_of(contract.network, contract.in_channels, contract.out_channels))
    shown = contract.model_dump(mode="json") | {"weights": str(model.weights), "sha256": model.sha256}
    deliver(shown | cost, report, name)


@models.command
def export(name: str, folder: Path, *, report: Report = REPORT) -> None:
    """Copy a model (weights and contract) to a folder.

    Parameters
    ----------
    name
        Name of a shipped model or path of a model folder.
    folder
        Where to put it; must not exist.
    """
    from connectomics.networks.models import find_model

    with session(report):
        model = find_model(name, "model")
        if folder.exists():
            raise OutputExistsError(f"{folder}: exists already. Choose another folder.")
        with appearing(folder) as staged:
            shutil.copytree(model.weights.parent, staged)
    deliver({"output": str(folder), "model": model.contract.name}, report, "models export")
