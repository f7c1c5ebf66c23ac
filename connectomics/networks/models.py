"""Models on disk: a folder with weights and a contract, found by name or by path."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from connectomics.errors import ModelError, did_you_mean
from connectomics.networks.contract import Contract, read_contract
from connectomics.roi import Triple, triple

WEIGHTS_FILE = "weights.safetensors"
CONTRACT_FILE = "contract.json"
SIZE_TOLERANCE = 0.1
"""Relative difference of voxel size up to which a model is run as it is."""


@dataclass(frozen=True)
class Model:
    """A model that exists on disk.

    Attributes
    ----------
    contract : Contract
        What the weights are.
    weights : Path
        The safetensors file; of an ensemble, that of the first member.
    """

    contract: Contract
    weights: Path

    @property
    def all_weights(self) -> list[Path]:
        """The safetensors files of all members of an ensemble; one otherwise."""
        return [member_weights(self.weights.parent, member) for member in range(self.contract.members)]

    @cached_property
    def sha256(self) -> str:
        """Hash of all weights and the contract: the model's identity in a run."""
        digest = hashlib.sha256()
        for path in (*self.all_weights, self.weights.with_name(CONTRACT_FILE)):
            digest.update(path.read_bytes())
        return digest.hexdigest()


def member_weights(folder: Path, member: int) -> Path:
    """The weights of one member of an ensemble: weights.safetensors, weights-1.safetensors, ..."""
    stem, dot, suffix = WEIGHTS_FILE.partition(".")
    return folder / (WEIGHTS_FILE if member == 0 else f"{stem}-{member}{dot}{suffix}")


def shipped_folders() -> list[Path]:
    """Where shipped models and cascades lie: in the wheel, and in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return [package / "_models", package.parent / "data" / "models"]


def _is_model(folder: Path) -> bool:
    return (folder / CONTRACT_FILE).is_file()


def _open(folder: Path) -> Model:
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise ModelError(f"{folder}: a contract without {WEIGHTS_FILE}; the model is incomplete.")
    model = Model(read_contract(folder / CONTRACT_FILE), weights)
    missing = [path.name for path in model.all_weights if not path.is_file()]
    if missing:
        raise ModelError(
            f"{folder}: an ensemble of {model.contract.members} members without {', '.join(missing)}; "
            "the model is incomplete."
        )
    return model


def find_model(name_or_path: str | Path, asked_by: str = "--model") -> Model:
    """Return the model at a path, or the shipped model of that name.

    Parameters
    ----------
    name_or_path
        A folder with contract.json and weights.safetensors (or that contract), or a shipped model's name.
    asked_by
        The option or setting that names it, for the message.

    Raises
    ------
    ModelError
        No such model (the message names those there are), or a damaged one.
    """
    path = Path(name_or_path)
    if path.name == CONTRACT_FILE or path.name == WEIGHTS_FILE:
        path = path.parent
    if _is_model(path):
        return _open(path)
    name = str(name_or_path)
    if path.name == name:
        for folder in shipped_folders():
            if _is_model(folder / name):
                return _open(folder / name)
    names = {model.weights.parent.name for model in list_models()}
    what = "has no contract.json" if path.is_dir() else "no such model"
    raise ModelError(f"{asked_by} {name}: {what}.{did_you_mean(name, names)}")


def list_models() -> list[Model]:
    """The shipped models, by name; each name once (the wheel's own first)."""
    found: dict[str, Model] = {}
    for folder in shipped_folders():
        for child in sorted(folder.iterdir()) if folder.is_dir() else []:
            if _is_model(child) and (child / WEIGHTS_FILE).is_file():
                found.setdefault(child.name, _open(child))
    return [found[name] for name in sorted(found)]


def suggest_models(task: str, modality: str | None = None, voxel_size: Sequence[float] | None = None) -> str:
    """Name the shipped models for a task, of that modality and voxel size where they are given.

    Parameters
    ----------
    task
        As in `Contract.task`.
    modality
        "xray" or "em".
    voxel_size
        nm, zyx.

    Returns
    -------
    str
        Such as ``"fib25-em (em, 10 x 10 x 10 nm)"``; empty where none is shipped.
    """
    fitting = [
        f"{m.contract.name} ({m.contract.modality}, {' x '.join(f'{v:g}' for v in m.contract.voxel_size)} nm)"
        for m in list_models()
        if m.contract.task == task
        and modality in (None, m.contract.modality)
        and (voxel_size is None or fits_voxel_size(m, triple(voxel_size, "voxel size")))
    ]
    return ", ".join(fitting)


def check_task(model: Model, *, translates: bool) -> None:
    """Refuse a translation where affinities are needed, and the other way round, and a detector for both.

    Raises
    ------
    ModelError
        The message names the command to use, and shipped models for this one.
    """
    name, task = model.contract.name, model.contract.task
    wanted = "translation" if translates else "affinities"
    if task == wanted or (task == "detector" and not translates):  # whose channel predict may well write
        return
    does = {
        "affinities": "predicts affinities and translates nothing. Run 'connectomics predict' or "
        "'connectomics segment' with it",
        "translation": "predicts no affinities: it translates. Run 'connectomics translate' with it, and "
        "segment OUT.zarr/em with another model",
        "detector": "is the detector of a cascade and translates nothing. Name it in the recipe of "
        "'connectomics cascade calibrate'",
    }[task]
    shipped = suggest_models(wanted)
    instead = f"shipped for this: {shipped}" if shipped else "none is shipped for this"
    raise ModelError(f"model '{name}' {does}, or name another model here ({instead}).")


def check_fits(model: Model, voxel_size: Sequence[float]) -> None:
    """Refuse a model whose voxel size is not the input's.

    Raises
    ------
    ModelError
        They differ by more than 10% along an axis; the message says the factor, offers --rescale and names
        the shipped models of that modality that fit.
    """
    size, contract = triple(voxel_size, "voxel size"), model.contract
    expected = contract.voxel_size
    if fits_voxel_size(model, size):
        return
    factors = [got / want for got, want in zip(size, expected, strict=True)]
    other = suggest_models(contract.task, contract.modality, size) or "none is shipped"
    shown = " x ".join(f"{factor:.3g}" for factor in factors)
    raise ModelError(
        f"model '{model.contract.name}' was trained at voxel size {expected} nm, the input has {size} nm "
        f"(factor {shown}, z y x). Pass --rescale to resample the input, or choose a model that fits "
        f"({other})."
    )


def fits_voxel_size(model: Model, size: Triple) -> bool:
    """Whether a model can be run at a voxel size (nm, zyx) as it is: within 10% of its own."""
    pairs = zip(size, model.contract.voxel_size, strict=True)
    return all(abs(got / want - 1) <= SIZE_TOLERANCE for got, want in pairs)
