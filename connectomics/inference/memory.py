"""Memory budgets: read "8GB", and choose the cheapest tile that keeps to one."""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from connectomics.errors import InputError, SettingsError
from connectomics.inference.tiles import TileLattice, axis_spans
from connectomics.roi import IntTriple, int_triple

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

LARGEST_CORE = 128
"""Cores are no longer than this: larger ones save little context, and writing one is not overlapped."""

UNIFORM_CORE = 64
"""Longest core of a given edge whose input tiles all have one shape: OpenVINO compiles each shape anew, which
takes 0.1 s, longer than such a tile."""


def parse_bytes(text: str) -> int:
    """Read an amount of memory; decimal units count in thousands, so ``8GB`` is 8e9 bytes.

    Raises
    ------
    SettingsError
        Not a number with a known unit.

    Examples
    --------
    >>> parse_bytes("8GB"), parse_bytes("1.5 MiB")
    (8000000000, 1572864)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", text)
    unit = UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise SettingsError(f"memory: expected a number and a unit such as 8GB or 500MB, got {text!r}.")
    return round(float(match[1]) * unit)


@dataclass(frozen=True)
class MemoryCost:
    """What predicting costs in memory: ``fixed + per_voxel * (voxels of the largest input tile)``.

    Attributes
    ----------
    fixed : int
        Bytes before the first tile: interpreter, libraries, weights.
    per_voxel : float
        Bytes per voxel of an input tile: the network's workspace and the tiles and blocks in the queues.
    most : int, optional
        Voxels that an input tile may have at most, whatever the budget: what a GPU holds.
    """

    fixed: int
    per_voxel: float
    most: int | None = None

    def peak(self, voxels: int) -> int:
        """Bytes at the peak with input tiles of `voxels` voxels."""
        return self.fixed + math.ceil(self.per_voxel * voxels)

    def allows(self, voxels: int, budget: int) -> bool:
        """True where input tiles of `voxels` voxels keep to a budget of bytes."""
        return self.peak(voxels) <= budget and (self.most is None or voxels <= self.most)


@dataclass(frozen=True)
class TileRule:
    """What tiles must obey: the network's context and multiple, and what cores are made of.

    Attributes
    ----------
    margin : IntTriple
        Voxels of context on each side of a core, zyx.
    divisor : IntTriple
        Input tiles are a multiple of it and start on one, so every tile is pooled in step.
    granule : int
        Cores are a multiple of it where the volume is larger, so that blocks of whole chunks are whole cores.
    """

    margin: IntTriple
    divisor: IntTriple
    granule: int = 32


def choose_tile(budget: int, cost: MemoryCost, shape: Sequence[int], rule: TileRule) -> TileLattice:
    """The lattice over a volume that computes fewest voxels, within a memory budget.

    The choice depends on nothing but the arguments: not on block sizes, nor on what else the machine does.

    Parameters
    ----------
    budget
        Bytes for the whole process.
    cost
        What the engine needs.
    shape
        The volume's voxels, zyx.
    rule
        Margin, divisor and granule.

    Raises
    ------
    InputError
        Even the smallest tile does not fit; the message says what would.
    """
    size = int_triple(shape, "shape")
    axes = [
        _axis_choices(n, margin, divisor, rule.granule)
        for n, margin, divisor in zip(size, rule.margin, rule.divisor, strict=True)
    ]
    combos = list(itertools.product(*axes))
    fitting = [c for c in combos if cost.allows(_voxels(c), budget)]
    if not fitting:
        least = min(_voxels(c) for c in combos)
        need = cost.peak(least)
        if need <= budget:
            raise InputError(
                f"the GPU's memory is too little for this network: it holds tiles of {cost.most} voxels, the "
                f"smallest has {least}. Choose --device cpu."
            )
        raise InputError(
            f"memory {budget / 1e9:.2f} GB is too little for this network: its smallest tile needs "
            f"{need / 1e9:.2f} GB. Give --memory {math.ceil(need / 1e8) / 10:.1f}GB or more."
        )
    best = min(fitting, key=lambda c: (math.prod(axis.total for axis in c), _voxels(c), [a.core for a in c]))
    return TileLattice(size, int_triple([axis.core for axis in best]), rule.margin, rule.divisor)


def fixed_tile(edge: int, shape: Sequence[int], rule: TileRule) -> TileLattice:
    """The lattice of cores of a given edge (rounded up to the network's divisor)."""
    core = int_triple([math.ceil(edge / divisor) * divisor for divisor in rule.divisor])
    return lattice_of(core, shape, rule)


def lattice_of(core: IntTriple, shape: Sequence[int], rule: TileRule) -> TileLattice:
    """The lattice of given cores; small ones are computed in tiles of one shape."""
    uniform = max(core) <= UNIFORM_CORE
    return TileLattice(int_triple(shape, "shape"), core, rule.margin, rule.divisor, uniform)


@dataclass(frozen=True)
class _AxisChoice:
    core: int
    longest: int
    total: int


def _axis_choices(size: int, margin: int, divisor: int, granule: int) -> list[_AxisChoice]:
    step = math.lcm(divisor, granule)
    cores = range(step, min(math.ceil(size / step) * step, max(LARGEST_CORE, step)) + 1, step)
    choices = []
    for core in cores:
        lengths = [span.stop - span.start for span in axis_spans(size, core, margin, divisor)]
        choices.append(_AxisChoice(core, max(lengths), sum(lengths)))
    return choices


def _voxels(combo: Sequence[_AxisChoice]) -> int:
    return math.prod(axis.longest for axis in combo)
