"""Learning a translation: batch, registration and losses of a step."""

from collections.abc import Sequence
from typing import Any

import torch

from connectomics.errors import SettingsError
from connectomics.networks.contract import Normalisation
from connectomics.roi import IntTriple, Triple, triple
from connectomics.training.network_training import NetworkTraining
from connectomics.training.pairs import PairCropper, PairSource
from connectomics.training.settings import TrainSettings
from connectomics.training.translation_losses import (
    Adversary,
    MembraneLoss,
    gaussian_nll,
    make_discriminator,
    register,
    structure_loss,
)
from connectomics.training.translation_settings import TranslationSettings
from connectomics.training.translation_validation import score_translation


class TranslationTraining(NetworkTraining):
    """A network learning to turn one modality into another, with a variance beside each grey value.

    Parameters
    ----------
    settings
        The run; it has a translation section.
    sources
        Pairs to fit to; moved to the device when the run starts.
    grey
        What the targets' standardised grey values stand for.
    """

    def __init__(self, settings: TrainSettings, sources: list[PairSource], grey: Normalisation) -> None:
        super().__init__(settings, settings.heads(), sources)
        self.losses = translation_of(settings)
        self._membrane: MembraneLoss | None = None
        if self.losses.membrane:
            fine = fine_voxel_size(settings)
            self._membrane = MembraneLoss(self.losses.membrane_models, fine, grey, self.losses.membrane_crop)
            self._membrane.check_crop([n - 2 * self.losses.tolerance for n in fine_crop(settings)])
        self._adversary: Adversary | None = None
        self._kept: dict[str, Any] | None = None
        if self.losses.adversarial:
            self.discriminator = make_discriminator(
                self.losses.discriminator_channels, self.losses.discriminator_layers
            )

    def draw_from(self, sources: Sequence[PairSource]) -> None:
        """Draw crops from these from now on."""
        settings = self.settings
        self._cropper = PairCropper(
            [source.to(self.device) for source in sources],
            settings.crop,
            settings.batch,
            settings.augment,
            settings.data.voxel_size,
            settings.seed,
        )

    def on_fit_start(self) -> None:
        """Move everything to the device, the frozen network and the adversary's optimiser, too."""
        super().on_fit_start()
        if self._membrane is not None:
            self._membrane.to(self.device)
        if self.losses.adversarial:
            if self.trainer.world_size > 1:
                raise SettingsError("translation.adversarial: trains on one device; hide the others.")
            self._adversary = Adversary(self.discriminator, self.losses.discriminator_lr)
            if self._kept is not None:
                self._adversary.optimiser.load_state_dict(self._kept)

    def score(self, sources: Sequence[PairSource]) -> dict[str, float]:
        """Scores of the averaged weights on held-out pairs, on the module's device."""
        return score_translation(self.average, sources, self.settings)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Loss of this step's batch, which is cut here, on the device."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            image, target = self._cropper.batch(self.global_step, self.global_rank)
        output = self(image).float()
        seen, truth, shift = register(output, target, self.losses.tolerance, self.losses.tolerance_price)
        parts = self._parts(seen, truth)
        weights = {name: getattr(self.losses, name) for name in parts}
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        self.latest |= {f"loss_{name}": part.detach() for name, part in parts.items()}
        self.latest |= {"loss": total.detach(), "shift": shift.norm(dim=1).mean()}
        return total

    def _parts(self, output: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Every loss that has a weight; channel 0 is the grey value, channel 1 its variance."""
        losses, grey = self.losses, output[:, :1]
        place = (self.settings.seed, self.global_step)
        parts = {}
        if losses.l1:
            parts["l1"] = (grey - target).abs().mean()
        if losses.nll:
            parts["nll"] = gaussian_nll(grey, output[:, 1:2], target, losses.beta)
        if losses.ssim:
            parts["ssim"] = structure_loss(grey, target, place)
        if self._membrane is not None:
            parts["membrane"] = self._membrane(grey, target, place)
        if self._adversary is not None:
            parts["adversarial"], told = self._adversary(grey, target)
            self.latest["loss_discriminator"] = told
        return parts

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the adversary's optimiser, too."""
        super().on_save_checkpoint(checkpoint)
        if self._adversary is not None:
            checkpoint["discriminator_optimiser"] = self._adversary.optimiser.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the adversary's optimiser, too."""
        super().on_load_checkpoint(checkpoint)
        self._kept = checkpoint.get("discriminator_optimiser")


def translation_of(settings: TrainSettings) -> TranslationSettings:
    """The translation section of a run that has one.

    Raises
    ------
    SettingsError
        It has none.
    """
    if settings.translation is None:
        raise SettingsError("translation: this run has no such section.")
    return settings.translation


def fine_voxel_size(settings: TrainSettings) -> Triple:
    """Voxel size of the targets, nm zyx."""
    return triple([v / f for v, f in zip(settings.data.voxel_size, settings.network.upsample, strict=True)])


def fine_crop(settings: TrainSettings) -> IntTriple:
    """Target voxels of a crop, zyx."""
    z, y, x = (n * f for n, f in zip(settings.crop, settings.network.upsample, strict=True))
    return z, y, x
