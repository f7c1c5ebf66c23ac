"""Learning affinities: batch, targets and losses of a step."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from connectomics.networks.batch_statistics import renew_statistics
from connectomics.networks.build import divisor_of
from connectomics.networks.heads import split_heads
from connectomics.training.crops import Cropper
from connectomics.training.hard_places import Places
from connectomics.training.losses import (
    balanced_cross_entropy,
    centreline_loss,
    descriptor_loss,
    dice_loss,
)
from connectomics.training.maximin import maximin_loss
from connectomics.training.network_training import NetworkTraining
from connectomics.training.settings import TrainSettings
from connectomics.training.sources import UNLABELLED, Source
from connectomics.training.targets import affinity_targets, descriptor_targets, erode_borders
from connectomics.training.validation import Scores, validate


class AffinityTraining(NetworkTraining):
    """A network learning affinities (and, beside them, local shape descriptors).

    Parameters
    ----------
    settings
        The run.
    sources
        Volumes to fit to; moved to the device when the run starts.
    """

    def __init__(self, settings: TrainSettings, sources: list[Source]) -> None:
        super().__init__(settings, settings.targets.heads(), sources)
        self._sigma = [settings.targets.lsd_sigma / size for size in settings.data.voxel_size]
        self.sources = [replace(source, number=i) for i, source in enumerate(self.sources)]
        self.places: dict[int, Places] = {}

    def draw_from(self, sources: Sequence[Source]) -> None:
        """Draw crops from these from now on."""
        settings = self.settings
        self.__dict__.pop("_cropper", None)  # free the volumes that it holds first
        raws = {id(source.raw): source.raw.to(self.device) for source in sources}  # several may share one
        placed = [replace(s, raw=raws[id(s.raw)], labels=s.labels.to(self.device)) for s in sources]
        self._cropper = Cropper(
            [replace(source, labels=self._drawn_back(source)) for source in placed],
            settings.crop,
            settings.batch,
            settings.augment,
            settings.data.voxel_size,
            settings.seed,
            settings.data.rare_objects,
        )
        self._cropper.revisit(self.places, settings.mining.share)

    def _drawn_back(self, source: Source) -> torch.Tensor:
        traced = source.traces is not None and self.settings.truth.method == "points"
        becomes = UNLABELLED if traced else 0  # a skeleton is surely no background
        return erode_borders(source.labels, self.settings.targets.erosion, becomes)

    def on_fit_start(self) -> None:
        """Prepare; of a network that is adapted, measure the norms' statistics on the new volumes first."""
        super().on_fit_start()
        finetune = self.settings.finetune
        if finetune is None or not finetune.statistics or self.resumed:
            return
        steps = range(finetune.statistics)
        renew_statistics(self.network, (self._cropper.batch(step)[0] for step in steps))
        for kept, new in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(new)

    def revisit(self, places: dict[int, Places]) -> None:
        """See these places more from now on, by the number of the volume."""
        self.places = places
        self._cropper.revisit(places, self.settings.mining.share)

    def score(self, sources: Sequence[Source]) -> Scores:
        """Scores of the averaged weights on held-out sources, on the module's device."""
        settings = self.settings
        return validate(
            self.average,
            sources,
            divisor_of(settings.network),
            settings.targets.offsets,
            settings.validation.segmentation,
            settings.validation.thresholds,
        )

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Loss of this step's batch, which is cut here, on the device."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            image, labels = self._cropper.batch(self.global_step, self.global_rank)
            targets = self._targets(labels)
        output = self(image)
        return self._loss(output, targets, labels)

    def _targets(self, labels: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        settings = self.settings.targets
        found = [affinity_targets(labels, settings.offsets)]
        if settings.lsd:
            found.append(descriptor_targets(labels, self._sigma, settings.lsd_step))
        return found

    def _loss(
        self, output: torch.Tensor, targets: list[tuple[torch.Tensor, torch.Tensor]], labels: torch.Tensor
    ) -> torch.Tensor:
        settings = self.settings.loss
        outputs = split_heads(output, self.heads)
        affinities = balanced_cross_entropy(outputs[0], *targets[0], settings.balance)
        parts = {"loss_affinities": affinities}
        total = affinities
        if settings.dice:
            parts["loss_dice"] = dice_loss(outputs[0], *targets[0])
            total = total + settings.dice * parts["loss_dice"]
        if self.settings.targets.lsd:
            parts["loss_lsd"] = descriptor_loss(outputs[1], *targets[1])
            total = total + settings.lsd * parts["loss_lsd"]
        if settings.cldice:
            parts["loss_cldice"] = centreline_loss(outputs[0][:, :3], labels)
            total = total + settings.cldice * parts["loss_cldice"]
        if settings.maximin:
            parts["loss_maximin"] = maximin_loss(outputs[0][:, :3], labels)
            total = total + settings.maximin * parts["loss_maximin"]
        self.latest = {name: part.detach() for name, part in {"loss": total, **parts}.items()}
        return total
