"""What each oddity of the official XPRESS scorer did to a score."""

from dataclasses import dataclass, replace
from typing import Any

from connectomics.evaluation.nodes_in_region import NodesInRegion
from connectomics.evaluation.xpress import OFFICIAL, Figures, xpress_figures

SMALLEST_CHANGE = 1e-6

_EXPLAINED = {
    "first_axon_is_background": "Rand and VOI leave out the axon of the first node in the file, whatever "
    "happened to it; another order of the nodes gives another score.",
    "stray_node_merges": "A single node of another axon under a label, even one without an edge, takes away "
    "all the length that the label holds.",
    "labels_as_floats": "Labels above 2^53 are compared as rounded numbers, so some merges are not seen by "
    "the run length. Relabel below 2^53.",
    "reentry_is_a_new_axon": "An axon that leaves the region and comes back counts as two, and one label "
    "over both as a merge.",
    "background_voxel_is_an_object": "Nodes that share a voxel of label 0 count as found together, so that "
    "an edge within it is correct and two axons in it are merged.",
    "background_is_never_merged": "For Rand and VOI every background node is an object of its own, so label "
    "0 merges nothing: an empty segmentation scores about 0.25.",
    "divided_by_mean_length": "erl_norm divides by the mean length of an axon and not by the largest "
    "possible run length, so a perfect result can score above 1.",
}


@dataclass(frozen=True)
class Oddity:
    """One oddity that changed a score.

    Attributes
    ----------
    name : str
        Field of `xpress.Rules`.
    explanation : str
        What the official scorer does.
    change : dict
        Official figure minus the figure without the oddity, for those that changed.
    """

    name: str
    explanation: str
    change: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for a report."""
        return {"name": self.name, "explanation": self.explanation, "change": self.change}


def find_oddities(found: NodesInRegion, official: Figures) -> list[Oddity]:
    """The oddities that changed `xpress_erl_rand`, `xpress_erl_voi` or a part of them by more than 1e-6.

    Parameters
    ----------
    found
        The nodes that were scored.
    official
        Their official figures.
    """
    oddities = []
    for name, explanation in _EXPLAINED.items():
        without = xpress_figures(found, replace(OFFICIAL, **{name: False}))
        change = {
            key: official[key] - without[key]
            for key in ("xpress_erl_rand", "xpress_erl_voi", "erl", "erl_norm", "xpress_rand", "xpress_voi")
            if _changed(official[key], without[key])
        }
        if change:
            oddities.append(Oddity(name, explanation, change))
    return oddities


def _changed(official: float, without: float) -> bool:
    if official != official or without != without:  # one axon alone: NaN against a number
        return (official != official) != (without != without)
    return abs(official - without) > SMALLEST_CHANGE * max(1.0, abs(official))
