"""Reversible sequences: the backward pass computes activations again from the outputs, and stores none."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import get_gradient_edge
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint, get_device_states, set_device_states

Pair = tuple[torch.Tensor, torch.Tensor]
Gradients = list[torch.Tensor | None]


class Coupling(nn.Module):
    """y1 = x1 + first(x2), y2 = x2 + second(y1): whatever the functions are, it can be undone.

    Parameters
    ----------
    first, second
        (n, c, z, y, x) -> the same shape; the same values when called again, dropout apart. No batch norm:
        its running statistics would be updated by both calls.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x1: torch.Tensor, x2: torch.Tensor, checkpointed: bool = False) -> Pair:
        """The two halves after the block; `checkpointed` stores what each function reads, and no more."""
        y1 = x1 + _call(self.first, x2, checkpointed)
        return y1, x2 + _call(self.second, y1, checkpointed)


def _call(function: nn.Module, seen: torch.Tensor, checkpointed: bool) -> torch.Tensor:
    answer: torch.Tensor = checkpoint(function, seen, use_reentrant=False) if checkpointed else function(seen)
    return answer


class ReversibleSequence(nn.Module):
    """Couplings one after the other.

    In evaluation and without gradients they are run as they stand; so exports see an ordinary network.

    Parameters
    ----------
    couplings
        The blocks, at least one.
    reversible
        Train without storing activations. False stores them: same weights, same function, same gradients.
    checkpointed
        Where activations would be stored, store the input of each function alone.
    """

    def __init__(self, couplings: Sequence[Coupling], reversible: bool, checkpointed: bool) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(couplings)
        self.reversible, self.checkpointed = reversible, checkpointed

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> Pair:
        """The two halves (n, c, z, y, x) after all blocks."""
        learns = self.training and torch.is_grad_enabled()
        if learns and self.reversible:
            if torch.compiler.is_compiling():
                from connectomics.networks.untraced import run_untraced

                return run_untraced(list(self.couplings), x1, x2)
            return run_reversibly(list(self.couplings), x1, x2)
        for coupling in self.couplings:
            x1, x2 = coupling(x1, x2, learns and self.checkpointed)
        return x1, x2

    @torch.no_grad()
    def inverse(self, y1: torch.Tensor, y2: torch.Tensor) -> Pair:
        """What the halves y1 and y2 were before all blocks, in evaluation."""
        for coupling in reversed(self.couplings):
            y2 = y2 - coupling.second(y1)  # type: ignore[operator]
            y1 = y1 - coupling.first(y2)  # type: ignore[operator]
        return y1, y2


def run_reversibly(couplings: Sequence[Any], x1: torch.Tensor, x2: torch.Tensor) -> Pair:
    """Run couplings, keeping only what comes out of the last one.

    The parameters are inputs of the autograd function, so that their gradients accumulate like any others
    and hooks on them (of distributed training, say) run.
    """
    parameters = [p for coupling in couplings for p in _parameters(coupling)]
    y1, y2 = _Recomputed.apply(couplings, x1, x2, *parameters)  # type: ignore[no-untyped-call]
    return y1, y2


def _parameters(coupling: Any) -> list[nn.Parameter]:
    """In the order in which the backward pass hands their gradients back."""
    return [*coupling.first.parameters(), *coupling.second.parameters()]


class _Recomputed(torch.autograd.Function):
    """Forward without a graph; backward undoes block after block, the last one first."""

    @staticmethod
    def forward(ctx: Any, couplings: Sequence[Any], *inputs: torch.Tensor) -> Pair:
        x1, x2 = inputs[:2]
        ctx.couplings, ctx.drawn = couplings, []
        ctx.autocast = _autocast_state(x1.device.type)
        with _autocast(ctx.autocast):
            for coupling in couplings:
                for_first = _RandomState(coupling.first, x1)
                x1 = x1 + coupling.first(x2)
                for_second = _RandomState(coupling.second, x1)
                x2 = x2 + coupling.second(x1)
                ctx.drawn.append((for_first, for_second))
        ctx.save_for_backward(x1, x2)
        return x1, x2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d1: torch.Tensor, d2: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        y1, y2 = ctx.saved_tensors
        ctx.maybe_clear_saved_tensors()  # unless the graph is retained, only y1 and y2 hold them from here on
        found: Gradients = []
        with _autocast(ctx.autocast):
            for coupling, (for_first, for_second) in zip(
                reversed(ctx.couplings), reversed(ctx.drawn), strict=True
            ):
                added, undo = _again(coupling.second, y1, for_second)
                y2 = y2 - added
                del added  # its graph is enough for what follows
                back, of_second = undo(d2)
                d1 = d1 + back
                del back, undo
                added, undo = _again(coupling.first, y2, for_first)
                y1 = y1 - added
                del added
                back, of_first = undo(d1)
                d2 = d2 + back
                del back, undo
                found = [*of_first, *of_second, *found]
        return None, d1, d2, *found


def _again(
    function: nn.Module, seen: torch.Tensor, drawn: "_RandomState"
) -> tuple[torch.Tensor, Callable[[torch.Tensor], tuple[torch.Tensor, Gradients]]]:
    """What a function added, and how a gradient for that becomes those for what it saw and its weights."""
    leaf = seen.detach().requires_grad_()
    with torch.enable_grad(), drawn.replayed():
        added = function(leaf)
    edge, kind = get_gradient_edge(added), added.dtype
    learnt = [p.requires_grad for p in function.parameters()]
    wanted = [p for p in function.parameters() if p.requires_grad]

    def undo(gradient: torch.Tensor) -> tuple[torch.Tensor, Gradients]:
        back, *rest = torch.autograd.grad([edge], [leaf, *wanted], [gradient.to(kind)])
        each = iter(rest)
        return back, [next(each) if learns else None for learns in learnt]

    return added.detach(), undo


class _RandomState:
    """The state of the generators before a function that drops something, to draw the same again."""

    def __init__(self, function: nn.Module, placed: torch.Tensor) -> None:
        self._kept: tuple[torch.Tensor, Any, Any] | None = None
        self._kind = placed.device.type
        if any(
            isinstance(module, _DropoutNd) and module.p and module.training for module in function.modules()
        ):
            self._kept = (torch.get_rng_state(), *get_device_states(placed))

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw what was drawn; afterwards the generators go on as if nothing had been drawn."""
        if self._kept is None:
            yield
            return
        cpu, devices, states = self._kept
        kind = self._kind if devices else "cuda"
        with torch.random.fork_rng(devices, device_type=kind):
            torch.set_rng_state(cpu)
            set_device_states(devices, states, device_type=kind)
            yield


def _autocast_state(kind: str) -> dict[str, Any] | None:
    """Autocast as it is now on a kind of device; None where it has none."""
    if not torch.amp.is_autocast_available(kind):
        return None
    enabled = torch.is_autocast_enabled(kind)
    return {"device_type": kind, "enabled": enabled, "dtype": torch.get_autocast_dtype(kind)}


@contextmanager
def _autocast(state: dict[str, Any] | None) -> Iterator[None]:
    """Autocast as it was, without its cache of weights: those of the forward pass carry no gradient."""
    if state is None:
        yield
        return
    with torch.autocast(**state, cache_enabled=False):
        yield
