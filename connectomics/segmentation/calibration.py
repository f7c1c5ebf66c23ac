"""What painted labels made of a network's uncertainty: the numbers that its contract carries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ModelError
from connectomics.segmentation.edge_features import FEATURES, EdgeModel

VOXEL_KEYS = ("voxel_z", "voxel_y", "voxel_x")
"""256 numbers each: the probability that two neighbours along an axis are connected, by their affinity."""

EDGE_KEY = "edge"
"""Constant and weights of the logistic model of `connectomics.segmentation.edge_features.FEATURES`."""

RANGE_KEYS = ("edge_low", "edge_high")
"""For each feature, between which values it was calibrated; values beyond count as these."""

UNDECIDED_KEY = "edge_undecided"
"""Two mean affinities: between them an edge's affinity alone leaves more than 5% doubt either way."""

COUNTS_KEY = "edge_counts"
"""What the model was fitted to: edges, those between two fragments of one object, those decided wrongly."""

OF_FEATURES = (EDGE_KEY, *RANGE_KEYS)

LENGTHS = {
    **dict.fromkeys(VOXEL_KEYS, 256),
    EDGE_KEY: 1 + len(FEATURES),
    **dict.fromkeys(RANGE_KEYS, len(FEATURES)),
    UNDECIDED_KEY: 2,
    COUNTS_KEY: 3,
}


@dataclass(frozen=True)
class Calibration:
    """A contract's calibration as arrays; None where it says nothing.

    Attributes
    ----------
    voxels : (3, 256) float64 or None
        Probability that two neighbours are connected, by channel and affinity.
    edges : EdgeModel or None
        Of the edges of the region graph.
    fits : bool
        The segmentation settings are those that the edges were calibrated with.
    """

    voxels: NDArray[np.float64] | None = None
    edges: EdgeModel | None = None
    fits: bool = True

    @classmethod
    def parse(cls, values: Mapping[str, Sequence[float]] | None, fits: bool = True) -> "Calibration":
        """From the numbers of a contract.

        Raises
        ------
        ModelError
            A table has another length than it must have, or holds what is no number or no probability.
        """
        tables = {key: np.array(values[key], np.float64) for key in LENGTHS if values and key in values}
        for key, table in tables.items():
            if key in OF_FEATURES and len(table) == LENGTHS[key] - 1:  # from before there was a penalty
                tables[key] = table = np.append(table, 0.0)
            if len(table) != LENGTHS[key] or not np.isfinite(table).all():
                raise ModelError(
                    f"contract: calibration.{key} must be {LENGTHS[key]} finite numbers, got {len(table)}. "
                    "Make it anew with scripts/calibrate.py."
                )
        channels = [tables[key] for key in VOXEL_KEYS if key in tables]
        if any(table.min() < 0 or table.max() > 1 for table in channels):
            raise ModelError("contract: calibration.voxel_* must be probabilities, 0 to 1.")
        voxels = np.stack(channels) if len(channels) == len(VOXEL_KEYS) else None
        edges = [tables[key] for key in (EDGE_KEY, *RANGE_KEYS) if key in tables]
        return cls(voxels, EdgeModel(*edges) if len(edges) == 3 else None, fits)

    @property
    def said(self) -> dict[str, bool]:
        """For reports: which of the two uncertainties are calibrated."""
        return {
            "uncertainty": self.voxels is not None,
            "p_wrong": self.edges is not None and self.fits,
        }


UNCALIBRATED = Calibration()
"""Of a network that is taken at its word."""


def without_edges(values: Mapping[str, list[float]] | None) -> dict[str, list[float]] | None:
    """A contract's calibration once its segmentation settings have changed."""
    return None if values is None else {key: values[key] for key in values if key in VOXEL_KEYS}
