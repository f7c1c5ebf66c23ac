"""What a model remembers of the images it was fitted to: features of crops, beside its weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ModelError
from connectomics.networks.contract import FeatureRecord
from connectomics.networks.models import Model
from connectomics.roi import IntTriple

FEATURES_FILE = "features.safetensors"

MAKE_THEM = "scripts/store_features.py {name} RECIPE.toml makes them from its recipe's data"
"""What to do about a model without features."""


@dataclass(frozen=True)
class CropFeatures:
    """Features of the crops of one or more volumes.

    Attributes
    ----------
    deepest : (n, 2c) float32
        Mean and standard deviation over space of each channel of the network's deepest layer.
    common : (n, k) float32
        What needs no network: see `connectomics.inference.image_statistics`.
    group : (n,) int32
        Which volume, or which part of one, each crop was cut from.
    """

    deepest: NDArray[np.float32]
    common: NDArray[np.float32]
    group: NDArray[np.int32]

    def __len__(self) -> int:
        """Number of crops."""
        return len(self.group)


def weights_hash(model: Model) -> str:
    """Hash of a model's weights alone; its contract may change."""
    digest = hashlib.sha256()
    for path in model.all_weights:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def write_features(model: Model, features: CropFeatures, layer: str, crop: IntTriple) -> FeatureRecord:
    """Write features beside a model's weights, as float16; returns what its contract should say of them."""
    from safetensors.numpy import save_file

    path = model.weights.with_name(FEATURES_FILE)
    limit = float(np.finfo(np.float16).max)
    values: dict[str, NDArray[Any]] = {
        "deepest": np.clip(features.deepest, -limit, limit).astype(np.float16),
        "common": np.clip(features.common, -limit, limit).astype(np.float16),
        "group": features.group.astype(np.int32),
    }
    partial = path.with_name(path.name + ".partial")
    save_file(values, partial)
    partial.chmod(0o644)
    partial.replace(path)
    return FeatureRecord(
        file=path.name, layer=layer, crop=crop, crops=len(features), weights=weights_hash(model)
    )


def read_features(model: Model) -> CropFeatures | None:
    """The features that a model's contract names; None where it names none.

    Raises
    ------
    ModelError
        The file is missing, damaged, of another layout, or of other weights.
    """
    record = model.contract.features
    if record is None:
        return None
    path = model.weights.with_name(record.file)
    again = f"Make it again: {MAKE_THEM.format(name=model.contract.name)}."
    if record.weights != weights_hash(model):
        raise ModelError(f"{path}: these features are of other weights than {model.weights.name}. {again}")
    values = _load(path, again)
    count = len(values["group"]) if values["group"].ndim == 1 else -1
    for name in ("deepest", "common"):
        table = values[name]
        if table.ndim != 2 or len(table) != count or count < 2 or not np.isfinite(table).all():
            raise ModelError(f"{path}: '{name}' is no table of finite features of {count} crops. {again}")
    return CropFeatures(
        values["deepest"].astype(np.float32),
        values["common"].astype(np.float32),
        values["group"].astype(np.int32),
    )


def _load(path: Path, again: str) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        values: dict[str, NDArray[Any]] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as features: {error}. {again}") from None
    missing = {"deepest", "common", "group"} - values.keys()
    if missing:
        raise ModelError(f"{path}: has no '{min(missing)}'. {again}")
    return values
