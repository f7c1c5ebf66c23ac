"""The statistics of batch norms, measured anew on other images: adaptation without labels."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def renew_statistics(network: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Replace the running mean and variance of every batch norm by those over some batches, in place.

    Parameters
    ----------
    network
        Its weights stay; its mode is left as it was. A network without batch norms is left alone.
    batches
        (n, c, z, y, x) normalised images, where the network lies. All batches count alike.

    Returns
    -------
    int
        Batches that were seen.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    training, momenta = network.training, [norm.momentum for norm in norms]
    seen = 0
    network.eval()
    try:
        for batch in batches if norms else ():
            if seen == 0:
                for norm in norms:
                    norm.reset_running_stats()
                    norm.momentum = None  # the plain average over all batches
                    norm.train()
            network(batch)
            seen += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(training)
    return seen
