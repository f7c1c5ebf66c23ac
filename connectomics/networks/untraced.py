"""Reversible sequences under torch.compile: left to eager mode, for no tracer can follow their backward."""

from collections.abc import Sequence
from typing import Any

import torch

from connectomics.networks.reversible import Pair, run_reversibly


@torch.compiler.disable(reason="its backward pass builds graphs and differentiates them")  # type: ignore[no-untyped-call]
def run_untraced(couplings: Sequence[Any], x1: torch.Tensor, x2: torch.Tensor) -> Pair:
    """As `run_reversibly`; in a module of its own because the decorator takes seconds to import."""
    return run_reversibly(couplings, x1, x2)
