"""Running a model without a screen: what can be run on what, where the result goes, and the run itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectomics.errors import ConnectomicsError, GeometryError, InputError
from connectomics.io.opening import open_volume
from connectomics.io.place import Place, RemotePath, as_place, is_url
from connectomics.networks.models import Model, list_models
from connectomics.pipeline.layer import Layer
from connectomics.roi import Roi
from napari_connectomics.forms import Knob, arguments, command_line, knobs_of
from napari_connectomics.run_job import Request, Step, Update

COMMANDS = ("segment", "predict", "translate")

TASKS = {
    "segment": ("affinities",),
    "predict": ("affinities", "detector"),
    "translate": ("translation",),
}
"""What a model must do for a command."""

SPREADS = {"uncertainty", "prediction_uncertainty", "aleatoric", "epistemic"}
"""Parts of an output that are images, but none to run on."""


@dataclass(frozen=True)
class Choice:
    """A model that may be run: its name, and what it is for."""

    name: str
    about: str
    fits: bool


def knobs(command: str) -> list[Knob]:
    """The options of a command."""
    return knobs_of(_function(command))


def choices(command: str, layer: Layer | None) -> list[Choice]:
    """The models at hand for a command, those that fit the volume's voxel size first."""
    found = [
        Choice(model.weights.parent.name, _about(model), layer is None or _fits(model, layer))
        for model in list_models()
        if model.contract.task in TASKS[command]
    ]
    return sorted(found, key=lambda one: not one.fits)


def model_defaults(command: str, name: str) -> Mapping[str, Any]:
    """What a model's own settings put in place of the defaults of the form."""
    model = next((one for one in list_models() if one.weights.parent.name == name), None)
    return dict(model.contract.segmentation) if model is not None and command == "segment" else {}


def output_for(
    command: str, layer: Layer, exists: Callable[[Place], bool] = lambda place: place.exists()
) -> str:
    """A place for the result that is free: beside the input, or in the home folder where that is remote."""
    place = as_place(layer.location)
    stem = Path(place.name).stem
    for parent in [] if isinstance(place, RemotePath) else place.parents:
        if parent.suffix in {".zarr", ".h5", ".n5", ".hdf", ".hdf5"}:
            place, stem = parent, f"{parent.stem}-{stem}"
    folder = Path.home() if isinstance(place, RemotePath) else place.absolute().parent
    number = 1
    while exists(out := folder / f"{stem}-{command}{'' if number == 1 else f'-{number}'}.zarr"):
        number += 1
    return str(out)


def request_for(
    command: str,
    layer: Layer | None,
    model: str,
    out: str,
    region: Roi | None,
    given: Mapping[str, str | bool],
) -> Request:
    """What to run, checked as far as it can be before it starts.

    Raises
    ------
    InputError
        No volume, model or place for the result; a value that does not fit.
    """
    if layer is None:
        raise InputError("choose an image to run on: one that was opened with this plugin.")
    if not model.strip():
        raise InputError("choose a model.")
    if not out.strip():
        raise InputError("say where the result goes, such as out.zarr.")
    words = arguments(knobs(command), given)
    if "--voxel-size" not in words and not _states_its_size(layer.location):
        words = [*words, "--voxel-size", *(f"{size:.15g}" for size in layer.voxel_size)]
    place = out.strip() if is_url(out.strip()) else str(Path(out).expanduser())
    return Request(command, layer.location, place, model.strip(), region, tuple(words))


def _states_its_size(location: str) -> bool:
    """False of a file whose voxel size the viewer was told."""
    try:
        open_volume(location)
    except GeometryError:
        return False
    except ConnectomicsError:  # the run itself says what is wrong
        pass
    return True


def shown_command(request: Request) -> str:
    """The same on the command line."""
    return command_line(request.words)


def say(update: Update) -> str:
    """How a run stands, in one line."""
    if update.running:
        step = current(update)
        if step is None:
            return "starting"
        failed = f", {step.failed} failed" if step.failed else ""
        return f"{step.name}: {step.done} of {step.total} blocks{failed}"
    if update.code == 0:
        return "done"
    if update.code == 130:
        return "cancelled: run it again to go on where it stopped"
    if update.message.startswith("error: "):
        return update.message.removeprefix("error: ")
    if update.code is not None and update.code < 0:
        how = f"signal {-update.code}" + (" (out of memory?)" if update.code == -9 else "")
        return f"ended by {how}: run it again to go on where it stopped"
    last = f": {update.message}" if update.message else ""
    return f"failed with exit code {update.code}{last}"


def current(update: Update) -> Step | None:
    """The step at work: one that is not through, else the last that began."""
    at_work = [step for step in update.steps if step.done + step.failed < step.total]
    return at_work[-1] if at_work else (update.steps[-1] if update.steps else None)


def _function(command: str) -> Callable[..., Any]:
    from connectomics.cli.predict import predict
    from connectomics.cli.segment import segment
    from connectomics.cli.translate import translate

    return {"segment": segment, "predict": predict, "translate": translate}[command]


def _about(model: Model) -> str:
    contract = model.contract
    size = " x ".join(f"{v:g}" for v in contract.voxel_size)
    return f"{contract.modality}, {size} nm: {contract.description}"


def _fits(model: Model, layer: Layer) -> bool:
    pairs = zip(layer.voxel_size, model.contract.voxel_size, strict=True)
    return all(abs(have / want - 1) <= 0.1 for have, want in pairs)
