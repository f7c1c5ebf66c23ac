"""How much memory a network's tensors take per voxel of its input, from its graph, running nothing."""

import copy
import math
from typing import Any

import torch
from torch import nn
from torch.multiprocessing import reductions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from connectomics.roi import IntTriple

_Reference: Any = reductions.StorageWeakRef
_Mode: Any = TorchDispatchMode


class _LiveBytes(_Mode):
    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, tuple[Any, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.live = {key: pair for key, pair in self.live.items() if not pair[0].expired()}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                reference = _Reference(storage)
                self.live.setdefault(reference.cdata, (reference, storage.nbytes()))
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return result


def tensor_bytes_per_voxel(network: nn.Module, in_channels: int, divisor: IntTriple) -> float:
    """Peak bytes of float32 tensors alive at once, per voxel of the input tile (which is not counted).

    Run on torch's meta device: exact for what torch allocates, the same on every machine, and free. What a
    library's kernels take beside it (reordered copies) is the engine's factor.
    """
    edges = [d * math.ceil(64 / d) for d in divisor]
    ghost = copy.deepcopy(network).eval().to("meta")
    tile = torch.empty(1, in_channels, *edges, device="meta")
    with torch.no_grad(), _LiveBytes() as counter:
        ghost(tile)
    return float(counter.peak / math.prod(edges))
