"""The training step: batch, targets, losses, schedule and averaged weights, as a Lightning module."""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import nn

from connectomics.networks.build import build_network
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
from connectomics.training.schedule import progress, rate
from connectomics.training.settings import TrainSettings
from connectomics.training.sources import Source
from connectomics.training.targets import affinity_targets, descriptor_targets, erode_borders

_AGREE_EVERY = 20
"""Steps after which several devices agree again on the time that passed."""


class AffinityTraining(LightningModule):
    """A network learning affinities (and, beside them, local shape descriptors).

    Parameters
    ----------
    settings
        The run.
    sources
        Volumes to fit to; moved to the device when the run starts.
    """

    def __init__(self, settings: TrainSettings, sources: list[Source]) -> None:
        super().__init__()
        self.settings, self.heads = settings, settings.targets.heads()
        channels = sum(head.channels for head in self.heads)
        torch.manual_seed(settings.seed)
        self.network: nn.Module = build_network(settings.network, 1, channels)
        self.average: nn.Module = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.minutes_before, self.done, self._agreed = 0.0, 0.0, 0.0
        self._started = time.monotonic()
        self.sources = [replace(source, number=i) for i, source in enumerate(sources)]
        self.places: dict[int, Places] = {}
        self.latest: dict[str, torch.Tensor] = {}

    @property
    def minutes(self) -> float:
        """Minutes trained, earlier runs of a resumed training included."""
        return self.minutes_before + (time.monotonic() - self._started) / 60

    def train(self, mode: bool = True) -> "AffinityTraining":
        """Set the mode of the network; the averaged one always evaluates."""
        super().train(mode)
        self.average.eval()
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; norms and biases do not decay."""
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for parameter in self.network.parameters():
            groups[parameter.ndim > 1].append(parameter)
        decay = self.settings.optimiser.weight_decay
        return torch.optim.AdamW(
            [{"params": groups[True], "weight_decay": decay}, {"params": groups[False], "weight_decay": 0.0}],
            lr=self.settings.optimiser.lr,
        )

    def on_fit_start(self) -> None:
        """Move the volumes to the device and prepare the network for it."""
        self._started = time.monotonic()
        targets, settings = self.settings.targets, self.settings
        self.draw_from(self.sources)
        self._sigma = [targets.lsd_sigma / size for size in settings.data.voxel_size]
        self._layout = torch.channels_last_3d if settings.channels_last else torch.contiguous_format
        self.network.to(memory_format=self._layout)  # type: ignore[call-overload]
        compiled = torch.compile(self.network) if settings.compile else self.network
        self._forward = [compiled]  # in a list: not a second child with the same weights

    def draw_from(self, sources: Sequence[Source]) -> None:
        """Draw crops from these from now on."""
        settings, erosion = self.settings, self.settings.targets.erosion
        self.__dict__.pop("_cropper", None)  # free the volumes that it holds first
        raws = {id(source.raw): source.raw.to(self.device) for source in sources}  # several may share one
        placed = [replace(s, raw=raws[id(s.raw)], labels=s.labels.to(self.device)) for s in sources]
        self._cropper = Cropper(
            [replace(source, labels=erode_borders(source.labels, erosion)) for source in placed],
            settings.crop,
            settings.batch,
            settings.augment,
            settings.data.voxel_size,
            settings.seed,
            settings.data.rare_objects,
        )
        self._cropper.revisit(self.places, settings.mining.share)

    def revisit(self, places: dict[int, Places]) -> None:
        """See these places more from now on, by the number of the volume."""
        self.places = places
        self._cropper.revisit(places, self.settings.mining.share)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate by progress; stop when all is done."""
        step = self.global_step
        if step % _AGREE_EVERY == 0 or not self._agreed:
            self._agreed = self._shared_minutes()
        minutes = self.minutes if self.trainer.world_size == 1 else self._agreed
        self.done = progress(step, self.settings.steps, minutes, self.settings.max_minutes)
        factor = rate(self.done, self.settings.optimiser.warmup)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.settings.optimiser.lr * factor
        if self.done >= 1:
            self.trainer.should_stop = True

    def _shared_minutes(self) -> float:
        if self.trainer.world_size == 1:
            return self.minutes
        return float(self.trainer.strategy.broadcast(self.minutes, src=0))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Loss of this step's batch, which is cut here, on the device."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            image, labels = self._cropper.batch(self.global_step, self.global_rank)
            targets = self._targets(labels)
        output = self._forward[0](image.contiguous(memory_format=self._layout))
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

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Take a step, then average: callbacks that come after it save and validate both."""
        super().optimizer_step(*arguments, **named)
        self._average_weights()

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Draw the averaged weights towards the new ones; early on they follow quickly."""
        step = self.global_step
        decay = min(self.settings.optimiser.ema, (1 + step) / (10 + step))
        # parameters() and buffers() name every tensor once; a state_dict names some of DynUNet's twice
        kept = [*self.average.parameters(), *self.average.buffers()]
        new = [*self.network.parameters(), *self.network.buffers()]
        pairs = [(a, b.detach()) for a, b in zip(kept, new, strict=True)]
        moving = [(a, b) for a, b in pairs if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in moving], [b for _, b in moving], 1 - decay)
        for count, newer in pairs:
            if not count.is_floating_point():
                count.copy_(newer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the time that was trained."""
        checkpoint["minutes"] = self.minutes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from the time that was trained."""
        self.minutes_before = float(checkpoint["minutes"])
