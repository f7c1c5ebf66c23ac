"""Which task a training run has: settings that belong to the other one are refused."""

from typing import TYPE_CHECKING

from connectomics.inference.passes import IMAGES

if TYPE_CHECKING:
    from connectomics.training.settings import TrainSettings


def check_task(settings: "TrainSettings") -> None:
    """Refuse what belongs to a translation without one, and what does not belong to it.

    Raises
    ------
    ValueError
        Says which setting.
    """
    data, held_out = settings.data, settings.validation
    if settings.finetune is not None and settings.start_from is None:
        raise ValueError("finetune: needs start_from, the model that is adapted")
    if settings.translation is None:
        if data.pairs or held_out.pairs:
            raise ValueError("data.pairs: pairs are for a translation; add a [translation] section")
        if settings.network.upsample != (1, 1, 1):
            raise ValueError("network.upsample: labels are on the input's voxels; leave it out")
        if settings.members > 1:
            raise ValueError("members: ensembles are for a translation; add a [translation] section")
        return
    if data.volumes or held_out.volumes:
        raise ValueError("data.volumes: a translation learns from data.pairs or data.phantoms")
    if any(group.skeletons or group.painted < 1 for group in (*data.phantoms, *held_out.phantoms)):
        raise ValueError("data.phantoms: skeletons and painted mean nothing to a translation")
    if any(group.density < 1 or group.level for group in (*data.phantoms, *held_out.phantoms)):
        raise ValueError("data.phantoms: pairs are of density 1 and level 0; leave density and level out")
    if held_out.calibration_phantoms:
        raise ValueError(
            "validation.calibration_phantoms: a translation is calibrated on what it is validated on; name "
            "them under validation.phantoms"
        )
    if settings.finetune is not None or data.annotations:
        raise ValueError("finetune, data.annotations: are for networks that segment")
    if settings.mining.share:
        raise ValueError("mining: looks for errors of segmentations, of which a translation makes none")
    fields = type(settings).model_fields
    for name in ("targets", "loss", "truth"):
        if getattr(settings, name) != fields[name].default:
            raise ValueError(f"{name}: is for networks that segment; see [translation]")
    if data.rare_objects:
        raise ValueError("data.rare_objects: is for networks that segment")
    most = len(IMAGES) * settings.members
    if not settings.network.dropout and (settings.translation.samples or 1) > most:
        raise ValueError(
            f"translation.samples: without network.dropout there are {most} different passes at most"
        )
