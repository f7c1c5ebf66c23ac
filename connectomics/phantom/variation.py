"""How other species and other microscopes differ from a phantom: changes of its tissue and of its look."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variation:
    """Changes of what the seed and the difficulty stand for; by default none.

    Attributes
    ----------
    tissue : mapping
        Fields of `connectomics.phantom.tissue.Tissue` to replace, such as ``gap`` (um between fibres),
        ``g_shift`` (added to the g-ratio), ``unmyelinated`` (share of the thin fibres).
    look : mapping
        Fields of `connectomics.phantom.xray.Look` to multiply, such as ``contrast``, ``noise``, ``streaks``.
    em_noise : float
        Factor of the EM's noise.
    """

    tissue: Mapping[str, float] = field(default_factory=dict)
    look: Mapping[str, float] = field(default_factory=dict)
    em_noise: float = 1.0
