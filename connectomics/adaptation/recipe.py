"""The recipe of a fine-tuning: everything that the model's contract says, and how its layers learn."""

from collections.abc import Sequence
from typing import Any

from connectomics.adaptation.settings import AdaptSettings
from connectomics.errors import GeometryError
from connectomics.inference.crop_places import crop_shape
from connectomics.networks.feature_file import weights_hash
from connectomics.networks.models import Model, shipped_folders

_EDGE = 64
_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def recipe_for(
    model: Model, crop: Sequence[int], voxel_size: Sequence[float], settings: AdaptSettings
) -> dict[str, Any]:
    """Values of a recipe for `connectomics train`, without the volumes, as plain lists and numbers.

    Parameters
    ----------
    model
        What it starts from.
    crop
        Voxels of the annotated crops with their context, at least, zyx: training crops are no larger.
    voxel_size
        Of the annotated crops, nm, zyx: near the model's, and what the adapted model is for.
    settings
        How it learns.

    Raises
    ------
    GeometryError
        The crops are smaller than the network can take.
    """
    contract = model.contract
    edges = settings.training_crop or crop_shape(crop, (_EDGE,) * 3, contract.divisor)
    if any(e % d or e < d for e, d in zip(edges, contract.divisor, strict=True)):
        raise GeometryError(
            f"training crop {tuple(edges)}: the network takes whole multiples of {contract.divisor} voxels."
        )
    folder, threshold = model.weights.parent, contract.segmentation.get("threshold")
    name = folder.name if folder.parent in shipped_folders() else str(folder.resolve())
    segmentation = {key: value for key, value in contract.segmentation.items() if key != "outline"}
    # Painted voxels teach where an object ends; an outline for the affinities of before would cut into it.
    tried = sorted({*_THRESHOLDS, *([threshold] if threshold is not None else [])})
    return {
        "start_from": name,
        "seed": settings.seed,
        "steps": settings.steps,
        "max_minutes": settings.minutes,
        "crop": list(edges),
        "batch": settings.batch,
        "checkpoint_every": 100,
        "log_every": 20,
        "data": {
            "voxel_size": list(voxel_size),
            "modality": contract.modality,
            "normalisation": contract.normalisation.kind,
        },
        "network": contract.network.model_dump(mode="json"),
        "targets": {"offsets": [list(offset) for offset in contract.offsets], "lsd": False, "erosion": 1},
        "optimiser": {"lr": settings.lr, "warmup": 0.05, "ema": 0.99},
        "augment": {"rotate": 0.3, "scale": 0.1, "elastic": 0.2, "noise": 0.2, "blur": 0.5},
        "finetune": {
            "statistics": settings.statistics,
            "source": f"{contract.name} ({weights_hash(model)[:16]})",
        },
        "validation": {"every": 10**6, "segmentation": segmentation, "thresholds": tried},
        "export": {
            "name": f"{contract.name}-adapted",
            "description": f"{contract.description} Adapted to another volume.".strip(),
            "licence": contract.licence,
            "attribution": contract.attribution,
            "margin": list(contract.margin),
        },
    }
