"""Stage 4c: how likely the final decision on each edge of the region graph is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.io.tables import create_table, read_table
from connectomics.pipeline.edge_files import CHUNK, GRAPH, PENALTY
from connectomics.pipeline.stage import Stage
from connectomics.segmentation.edge_features import Surroundings, edge_features
from connectomics.segmentation.uncertainty import calibrated_edge_uncertainty, edge_uncertainty


@dataclass(frozen=True)
class _Piece:
    """Rows of the region graph: (E, 2) fragments, and per edge mean, std, penalty (0..1) and voxel pairs."""

    rows: slice
    edges: NDArray[np.uint64]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    size: NDArray[np.float32]
    penalty: NDArray[np.float32] | None = None


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
            table[piece.rows] = edge_uncertainty(_as_decided(piece), stage.settings.threshold)
        return
    around = Surroundings(sizes, segment)
    for piece in _pieces(stage, total):
        around.add(piece.edges, piece.mean, piece.size)
    for piece in _pieces(stage, total):
        edges = (piece.edges, piece.mean, piece.std, piece.size)
        features = edge_features(*edges, around, piece.penalty)
        table[piece.rows] = calibrated_edge_uncertainty(features, model)


def _as_decided(piece: _Piece) -> NDArray[np.float32]:
    return piece.mean if piece.penalty is None else np.maximum(0, piece.mean - piece.penalty)


def _pieces(stage: Stage, total: int) -> Iterator[_Piece]:
    folder = stage.run.path / GRAPH
    names = ("edges", "mean", "std", "size", *(() if stage.image is None else (PENALTY,)))
    for first in range(0, total, CHUNK):
        last = min(first + CHUNK, total)
        tables = (read_table(folder, name, [(first, last)]) for name in names)
        yield _Piece(slice(first, last), *tables)
