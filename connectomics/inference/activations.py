"""Activations of one layer of a network, pooled over each crop: what the network sees in it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def pooled_activations(
    network: nn.Module, layer: str, crops: Iterable[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Mean and standard deviation over space of each channel of a layer, one row a crop.

    Parameters
    ----------
    network
        In evaluation mode; runs where it lies.
    layer
        Name of the module whose output is taken.
    crops
        (z, y, x) each, normalised, edges multiples of the network's divisor.

    Returns
    -------
    ndarray, (n, 2c)
        Means, then standard deviations.
    """
    rows: list[NDArray[np.float32]] = []

    def keep(module: nn.Module, given: Any, output: torch.Tensor) -> None:
        flat = output[0].float().flatten(1)
        rows.append(torch.cat([flat.mean(1), flat.std(1, correction=0)]).cpu().numpy())

    place = next(network.parameters())
    hook = network.get_submodule(layer).register_forward_hook(keep)
    try:
        with torch.inference_mode():
            for crop in crops:
                network(torch.from_numpy(crop)[None, None].to(place.device, place.dtype))
    finally:
        hook.remove()
    return np.stack(rows)
