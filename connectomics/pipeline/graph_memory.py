"""What memory the global step takes, from measured figures, and what that means for a volume."""

from connectomics.pipeline.graph_stage import LARGEST_EDGES
from connectomics.segmentation.settings import Linkage

FRAGMENTS_PER_MVOXEL = 200
EDGES_PER_FRAGMENT = 7
"""As found in the volumes tried; both depend on the tissue and on the settings."""

BYTES_PER_FRAGMENT = 60
"""Of the process that numbers the fragments, the one thing that grows with the volume: 44 per block-local
fragment (`scripts/benchmark_graph.py`), of which there are about 1.3 to a fragment of the whole."""

BYTES_PER_EDGE: dict[Linkage, int] = {
    "mean": 120,
    "median": 290,
    "percentile90": 290,
    "percentile95": 290,
}
"""Of the worker that agglomerates a connected component, per edge of it. `scripts/benchmark_graph.py`."""


def numbering_bytes(voxels: float) -> float:
    """Peak bytes of the one process that knows all fragments, for a volume of so many voxels."""
    return voxels / 1e6 * FRAGMENTS_PER_MVOXEL * BYTES_PER_FRAGMENT


def component_bytes(voxels: float, linkage: Linkage) -> float:
    """Peak bytes of a worker, when all edges are one component: beyond a size it is taken level by level."""
    edges = voxels / 1e6 * FRAGMENTS_PER_MVOXEL * EDGES_PER_FRAGMENT
    return min(edges, LARGEST_EDGES) * BYTES_PER_EDGE[linkage]


def voxels_that_fit(memory: float) -> float:
    """Voxels whose fragments one process of this memory (bytes) can number."""
    return memory / (FRAGMENTS_PER_MVOXEL * BYTES_PER_FRAGMENT) * 1e6
