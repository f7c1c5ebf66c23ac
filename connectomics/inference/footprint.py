"""How much memory a network's tensors take per voxel of its input, from its graph, running nothing."""

import copy
import math

import torch
from torch import nn

from connectomics.networks.live_bytes import peak_tensor_bytes
from connectomics.roi import IntTriple


def tensor_bytes_per_voxel(network: nn.Module, in_channels: int, divisor: IntTriple) -> float:
    """Peak bytes of float32 tensors alive at once, per voxel of the input tile (which is not counted).

    Run on torch's meta device: exact for what torch allocates, the same on every machine, and free. What a
    library's kernels take beside it (reordered copies) is the engine's factor.
    """
    edges = [d * math.ceil(64 / d) for d in divisor]
    ghost = copy.deepcopy(network).eval().to("meta")
    tile = torch.empty(1, in_channels, *edges, device="meta")
    with torch.no_grad():
        return peak_tensor_bytes(lambda: ghost(tile)) / math.prod(edges)
