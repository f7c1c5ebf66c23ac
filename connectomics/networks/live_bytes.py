"""The peak of tensors alive at once while something runs, counted operation by operation."""

from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing import reductions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


def peak_tensor_bytes(run: Callable[[], Any]) -> int:
    """Peak bytes of the tensors alive at once that `run` makes, forward and backward; its inputs apart.

    On torch's meta device: exact for what torch allocates, the same on every machine, and free. What a
    library's kernels take beside it (reordered copies) is not seen.
    """
    with _LiveBytes() as counter:
        kept = run()  # what it returns lives to the end
    del kept
    return int(counter.peak)
