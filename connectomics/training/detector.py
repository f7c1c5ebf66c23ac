"""A detector learning where objects are: for the coarse levels of a cascade."""

from collections.abc import Sequence

import numpy as np
import torch

from connectomics.networks.build import divisor_of
from connectomics.training.losses import balanced_cross_entropy
from connectomics.training.module import AffinityTraining
from connectomics.training.sources import Source
from connectomics.training.validation import Scores, predict_source


class DetectorTraining(AffinityTraining):
    """A network with one channel: whether a voxel, of a pyramid level, lies in an object."""

    def score(self, sources: Sequence[Source]) -> Scores:
        """(Sensitivity + specificity) / 2 of the averaged weights over the held-out voxels."""
        right, there = np.zeros(2), np.zeros(2)
        for source in sources:
            said = predict_source(self.average, source, divisor_of(self.settings.network), 1)[0] > 127
            labels = source.labels[source.score].cpu().numpy()
            for kind, where in enumerate((labels == 0, labels > 0)):
                right[kind] += (said[where] == bool(kind)).sum()
                there[kind] += where.sum()
        return {"balanced_accuracy": float((right / there).mean())} if there.all() else {}

    def _targets(self, labels: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [((labels > 0).float()[:, None], (labels >= 0)[:, None])]

    def _loss(
        self, output: torch.Tensor, targets: list[tuple[torch.Tensor, torch.Tensor]], labels: torch.Tensor
    ) -> torch.Tensor:
        loss = balanced_cross_entropy(output, *targets[0], self.settings.loss.balance)
        self.latest = {"loss": loss.detach()}
        return loss
