"""What every training run does: schedule, optimiser, averaged weights, time, as a Lightning module."""

import copy
import logging
import time
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import nn

from connectomics.errors import RunFailed
from connectomics.networks.build import build_network
from connectomics.networks.contract import Head
from connectomics.training.rates import group_rate, parameter_groups
from connectomics.training.schedule import progress, rate
from connectomics.training.settings import TrainSettings

log = logging.getLogger(__name__)

_MOST_LOST = 10
"""Steps in a row whose gradients are not finite, after which a run is given up."""

_AGREE_EVERY = 20
"""Steps after which several devices agree again on the time that passed."""


class NetworkTraining(LightningModule):
    """A network that learns, and its average; what it learns from and how it is judged is a subclass's.

    Parameters
    ----------
    settings
        The run.
    heads
        What the network's channels mean.
    sources
        What crops are drawn from; moved to the device when the run starts.
    """

    def __init__(self, settings: TrainSettings, heads: Sequence[Head], sources: Sequence[Any]) -> None:
        super().__init__()
        self.settings, self.heads = settings, tuple(heads)
        channels = sum(head.channels for head in self.heads)
        torch.manual_seed(settings.seed)
        self.network: nn.Module = build_network(settings.network, 1, channels)
        self.average: nn.Module = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.minutes_before, self.done, self._agreed = 0.0, 0.0, 0.0
        self.resumed, self._lost = False, 0
        self._started = time.monotonic()
        self.sources = list(sources)
        self.latest: dict[str, torch.Tensor] = {}

    def draw_from(self, sources: Sequence[Any]) -> None:
        """Draw crops from these from now on."""
        raise NotImplementedError

    def score(self, sources: Sequence[Any]) -> dict[str, float]:
        """Scores of the averaged weights on held-out sources, on the module's device."""
        raise NotImplementedError

    @property
    def minutes(self) -> float:
        """Minutes trained, earlier runs of a resumed training included."""
        return self.minutes_before + (time.monotonic() - self._started) / 60

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the network; the averaged one always evaluates."""
        super().train(mode)
        self.average.eval()
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; norms and biases do not decay; in fine-tuning deeper stages learn slower."""
        groups = parameter_groups(self.network, self.settings)
        return torch.optim.AdamW(groups, lr=self.settings.optimiser.lr)

    def on_fit_start(self) -> None:
        """Move the volumes to the device and prepare the network for it."""
        self._started = time.monotonic()
        settings = self.settings
        self.draw_from(self.sources)
        self._layout = torch.channels_last_3d if settings.channels_last else torch.contiguous_format
        self.network.to(memory_format=self._layout)  # type: ignore[call-overload]
        compiled = torch.compile(self.network) if settings.compile else self.network
        self._forward = [compiled]  # in a list: not a second child with the same weights

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Output of the network that learns, (n, channels, z, y, x)."""
        output: torch.Tensor = self._forward[0](image.contiguous(memory_format=self._layout))
        return output

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate by progress, and what dropout draws by the step; stop when all is done."""
        step = self.global_step
        drawn = np.random.SeedSequence([self.settings.seed, step, self.global_rank]).generate_state(
            1, np.uint64
        )
        torch.manual_seed(int(drawn[0]) >> 1)  # the same step drops the same, in a resumed run too
        if step % _AGREE_EVERY == 0 or not self._agreed:
            self._agreed = self._shared_minutes()
        minutes = self.minutes if self.trainer.world_size == 1 else self._agreed
        self.done = progress(step, self.settings.steps, minutes, self.settings.max_minutes)
        factor = rate(self.done, self.settings.optimiser.warmup)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group_rate(group, self.settings, self.done, factor)
        if self.done >= 1:
            self.trainer.should_stop = True

    def _shared_minutes(self) -> float:
        if self.trainer.world_size == 1:
            return self.minutes
        return float(self.trainer.strategy.broadcast(self.minutes, src=0))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave a step out whose gradients are not finite: it would spoil every weight.

        Raises
        ------
        RunFailed
            Ten in a row.
        """
        gradients = [one.grad for one in self.network.parameters() if one.grad is not None]
        if torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            self._lost = 0
            return
        self._lost += 1
        if self._lost >= _MOST_LOST:
            raise RunFailed(
                f"step {self.global_step}: gradients are not finite, {_MOST_LOST} times in a row. "
                'Start afresh with precision = "float32" or a lower optimiser.lr.'
            )
        log.warning("step %d: gradients are not finite; left out", self.global_step)
        optimizer.zero_grad(set_to_none=True)

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
        self.resumed = True
