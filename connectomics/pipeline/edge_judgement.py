"""Stage 4c: how likely the final decision on each edge of the region graph is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.io.tables import create_table, read_table
from connectomics.pipeline.edge_files import CHUNK, GRAPH
from connectomics.pipeline.stage import Stage
from connectomics.segmentation.edge_features import Surroundings, edge_features
from connectomics.segmentation.uncertainty import calibrated_edge_uncertainty, edge_uncertainty


@dataclass(frozen=True)
class _Piece:
    """Some rows of the region graph: (E, 2) fragments, and per edge mean, std (0..1) and voxel pairs."""

    rows: slice
    edges: NDArray[np.uint64]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    size: NDArray[np.float32]


def judge_edges(stage: Stage, sizes: NDArray[np.int64], segment: NDArray[np.uint64], total: int) -> None:
    """Write ``region_graph/p_wrong``; with the attribute ``calibrated``.

    Parameters
    ----------
    stage
        Its calibration says how; without one for edges, the affinity alone does.
    sizes
        (fragments + 1,) voxels of each fragment.
    segment
        (fragments + 1,) segment of each fragment, small ones not dropped.
    total
        How many edges there are.
    """
    table = create_table(stage.run.path / GRAPH, "p_wrong", (total,), np.float32, CHUNK)
    table.attrs["calibrated"] = stage.calibration.said["p_wrong"]
    model = stage.calibration.edges
    if model is None:
        for piece in _pieces(stage, total):
            table[piece.rows] = edge_uncertainty(piece.mean, stage.settings.threshold)
        return
    around = Surroundings(sizes, segment)
    for piece in _pieces(stage, total):
        around.add(piece.edges, piece.mean, piece.size)
    for piece in _pieces(stage, total):
        features = edge_features(piece.edges, piece.mean, piece.std, piece.size, around)
        table[piece.rows] = calibrated_edge_uncertainty(features, model)


def _pieces(stage: Stage, total: int) -> Iterator[_Piece]:
    folder = stage.run.path / GRAPH
    for first in range(0, total, CHUNK):
        last = min(first + CHUNK, total)
        tables = (read_table(folder, name, [(first, last)]) for name in ("edges", "mean", "std", "size"))
        yield _Piece(slice(first, last), *tables)
