"""A small output of `segment`, drawn by hand: tubes cut into fragments, one split and one false merge."""

from types import SimpleNamespace

import numpy as np
import pytest

from connectomics.affinities import affinities_from_labels
from connectomics.io.ome_zarr import create_array
from connectomics.io.pyramid import build_pyramid
from connectomics.io.skeletons import Skeletons
from connectomics.io.tables import write_table
from connectomics.segmentation.edges import block_edges
from connectomics.segmentation.region_graph import merge_edges

NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
VOXEL_SIZE, OFFSET = (200.0, 100.0, 100.0), (1000.0, 0.0, -500.0)
SHAPE = (8, 24, 64)


def write_output(path, fragments, lut, affinities, *, wrong=None, keep_affinities=False):
    """Write what `segment` writes of these; `wrong`: probability of edges (u, v), others have 0.05."""
    layout = {"shape": fragments.shape, "chunks": (8, 8, 16), "voxel_size": VOXEL_SIZE, "offset": OFFSET}
    for name, labels in (("fragments", fragments), ("segmentation", lut[fragments])):
        volume = create_array(path, f"labels/{name}", dtype=np.uint64, kind="label", **layout)
        volume.write_box(tuple(slice(0, n) for n in fragments.shape), labels.astype(np.uint64))
        build_pyramid(path, f"labels/{name}", 2)
    if keep_affinities:
        kept = layout | {"shape": affinities.shape}
        volume = create_array(path, "affinities", dtype=np.uint8, **kept)
        volume.write_box(tuple(slice(0, n) for n in fragments.shape), affinities)
    count = int(fragments.max())
    whole = tuple(slice(0, n) for n in fragments.shape)
    edges = block_edges(fragments.astype(np.int64) - 1, affinities, NEAREST, whole)
    graph = merge_edges([edges], np.arange(1, count + 1, dtype=np.uint64))
    p_wrong = [(wrong or {}).get(tuple(edge), 0.05) for edge in graph.edges.tolist()]
    tables = {
        "edges": graph.edges,
        "mean": graph.mean,
        "size": graph.size,
        "p_wrong": np.array(p_wrong, np.float32),
        "position": (graph.middle * VOXEL_SIZE + OFFSET).astype(np.float32),
        "voxels": np.bincount(fragments.ravel().astype(np.int64), minlength=count + 1),
    }
    for name, table in tables.items():
        write_table(path / "region_graph", name, table)
    write_table(path, "lut", lut.astype(np.uint64))
    return graph


def tubes():
    """Three tubes along x, rows y 0-7, 8-15, 16-23, of four fragments each; truth, and what was found.

    Fragments 1 2 3 4 | 5 6 7 8 | 9 10 11 12. Found: 1 = {1, 2}, 2 = {3, 4} (a split), 3 = {5..12} (a merge).
    """
    fragments = np.zeros(SHAPE, np.int64)
    for tube in range(3):
        for part in range(4):
            fragments[:, 8 * tube : 8 * tube + 8, 16 * part : 16 * part + 16] = 4 * tube + part + 1
    truth = (fragments - 1) // 4 + 1
    lut = np.array([0, 1, 1, 2, 2, *[3] * 8])
    same, _ = affinities_from_labels(truth.astype(np.uint32), NEAREST)
    affinities = np.where(same > 0, 230, 40).astype(np.uint8)
    affinities[1, :, 16, 20:30] = 180  # where tubes 2 and 3 were joined
    affinities[2, :, 0:8, 32] = 100  # where tube 1 was split
    wrong = {(2, 3): 0.45, (6, 10): 0.4, (5, 9): 0.9, (7, 11): 0.9, (8, 12): 0.9}
    return SimpleNamespace(fragments=fragments, truth=truth, lut=lut, affinities=affinities, wrong=wrong)


def centre(fragment):
    """Middle of a fragment of `tubes`, nm."""
    tube, part = divmod(fragment - 1, 4)
    voxel = np.array([4.0, 8 * tube + 4.0, 16 * part + 8.0])
    return tuple((voxel * VOXEL_SIZE + OFFSET).tolist())


def traced():
    """A skeleton along each tube."""
    x = np.arange(2.0, 64, 4)
    nodes = [np.stack([np.full(16, 4.0), np.full(16, 8.0 * tube + 4), x], 1) for tube in range(3)]
    places = np.concatenate(nodes) * VOXEL_SIZE + OFFSET
    edges = np.concatenate([np.stack([np.arange(15), np.arange(1, 16)], 1) + 16 * tube for tube in range(3)])
    return Skeletons(places, edges, np.repeat([1, 2, 3], 16), np.full(48, np.nan))


@pytest.fixture
def drawn(tmp_path):
    """The tubes, written to ``out.zarr``."""
    tube = tubes()
    tube.path = tmp_path / "out.zarr"
    tube.graph = write_output(
        tube.path, tube.fragments, tube.lut, tube.affinities, wrong=tube.wrong, keep_affinities=True
    )
    return tube


@pytest.fixture(scope="session")
def drawing():
    """The functions of this file, for tests (which cannot import it)."""
    return SimpleNamespace(**{name: value for name, value in globals().items() if not name.startswith("_")})
