"""Adaptation without any label: the norms' statistics of a model, measured anew on crops of a volume."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ModelError
from connectomics.inference.crop_places import crop_shape
from connectomics.inference.normalisation import Affine
from connectomics.io.opening import open_volume
from connectomics.networks.feature_file import weights_hash
from connectomics.networks.models import Model
from connectomics.training.annotations import TodoList


def renewed_model(model: Model, folder: Path, todo: TodoList, output: Path) -> Path:
    """Write a copy of a model whose batch norms have the statistics of a volume's crops.

    Parameters
    ----------
    model
        One network, no ensemble.
    folder, todo
        The crops; whether they are annotated does not matter.
    output
        Folder of the new model.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    ModelError
        The model is an ensemble, or has no batch norms.
    """
    import torch

    from connectomics.networks.batch_statistics import renew_statistics
    from connectomics.networks.checkpoint import load_network, save_model

    contract = model.contract
    if contract.members > 1:
        raise ModelError(f"model '{contract.name}': is an ensemble; only single networks are adapted.")
    network = load_network(model)
    batches = (torch.from_numpy(image)[None, None] for image in _images(model, folder, todo))
    if renew_statistics(network, batches) == 0:
        raise ModelError(f"model '{contract.name}': has no batch norms, so no statistics to renew.")
    training = contract.training.model_copy(
        update={
            "source_model": f"{contract.name} ({weights_hash(model)[:16]})",
            "annotations": f"none: statistics of {len(todo.crops)} crops of {todo.volume}",
        }
    )
    changed = {"name": f"{contract.name}-renewed", "training": training, "scores": {}}
    return save_model(
        output, network, contract.model_copy(update=changed | {"calibration": None, "features": None})
    )


def _images(model: Model, folder: Path, todo: TodoList) -> Iterator[NDArray[np.float32]]:
    affine = Affine(todo.mean, todo.std)
    for crop in todo.crops:
        volume = open_volume(folder / crop.raw, todo.voxel_size)
        shape = crop_shape(volume.shape, volume.shape, model.contract.divisor)
        z, y, x = (slice(0, n) for n in shape)
        yield affine.apply(volume.read_box((z, y, x)))
