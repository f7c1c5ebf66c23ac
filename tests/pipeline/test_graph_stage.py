"""The global step in many small parts against the whole at once, and what travels to the workers."""

from contextlib import contextmanager

import numpy as np
import pytest

from connectomics.blockwise.grid import Grid
from connectomics.blockwise.output import open_run
from connectomics.blockwise.pool import Threads
from connectomics.blockwise.progress import Silent
from connectomics.errors import InputError
from connectomics.inference.normalisation import Affine
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.row_files import DEALT, RowFiles
from connectomics.io.tables import read_table, write_table
from connectomics.pipeline import edge_files, graph_stage, numbering
from connectomics.pipeline.region import Region
from connectomics.pipeline.segment import segment_affinities
from connectomics.pipeline.stage import NODE_TO_FRAGMENT, Image, Nodes, Stage
from connectomics.segmentation.calibration import UNCALIBRATED
from connectomics.segmentation.edges import block_edges
from connectomics.segmentation.region_graph import merge_edges
from connectomics.segmentation.settings import SegmentationSettings
from connectomics.segmentation.whole import segment_array

NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
SHAPE = (64, 64, 96)
WHOLE = tuple(slice(0, n) for n in SHAPE)
LAYOUT = {"voxel_size": (3.0, 2.0, 1.0), "offset": (100.0, 0.0, -7.0)}


@pytest.fixture(scope="module")
def affinities():
    """Rough affinities: hundreds of fragments, some of them merged."""
    from scipy.ndimage import gaussian_filter

    rough = gaussian_filter(np.random.default_rng(0).standard_normal((3, *SHAPE)), (0, 2.5, 2.5, 2.5))
    return np.clip(140 + 90 * rough / rough.std(), 0, 255).astype(np.uint8)


def patches():
    """An image whose grey values differ from place to place, as cytoplasm does."""
    from scipy.ndimage import gaussian_filter

    rough = gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), 8)
    return (rough / rough.std()).astype(np.float32)


@contextmanager
def a_run(folder, affinities):
    with open_run(folder / "out.zarr", "segment", {}, []) as run:
        volume = create_array(
            run.path, "affinities", shape=affinities.shape, dtype=np.uint8, chunks=(32, 32, 32), **LAYOUT
        )
        volume.write_box(tuple(slice(0, n) for n in affinities.shape[1:]), affinities)
        yield run


def segmented(folder, affinities, settings, block, pool=None, calibration=UNCALIBRATED, image=None):
    """The report, and everything written."""
    grid = Grid(affinities.shape[1:], (block,) * 3)
    with a_run(folder, affinities) as run:
        volume = open_array(run.path, "affinities")
        seen = None
        if image is not None:
            source = create_array(
                run.path, "image", shape=image.shape, dtype=np.float32, chunks=(32, 32, 32), **LAYOUT
            )
            source.write_box(WHOLE, image)
            seen = Image(Region(source, WHOLE), Affine(0.0, 1.0))
        pool = pool or Threads(2)
        stage = Stage(run, grid, volume, NEAREST, settings, pool, Silent(), calibration, image=seen)
        report = segment_affinities(stage)
        names = ["edges", "mean", "std", "size", "p_wrong", "position", "voxels"]
        names += [] if image is None else ["penalty"]
        written = {
            name: read_table(run.path, name) for name in (*(f"region_graph/{n}" for n in names), "lut")
        }
        written |= {
            name: open_array(run.path, name).read() for name in ("labels/segmentation", "labels/fragments")
        }
    return report, written


@pytest.mark.parametrize("penalty", [0.0, 0.2])
@pytest.mark.parametrize(("linkage", "threshold"), [("mean", 0.5), ("median", 0.5), ("percentile90", 0.9)])
def test_small_parts_give_what_the_whole_gives(
    affinities, tmp_path, monkeypatch, linkage, threshold, penalty
):
    settings = SegmentationSettings(
        linkage=linkage, max_distance=8, threshold=threshold, min_object=3, grey_penalty=penalty
    )
    image = patches() if penalty else None
    fragments, graph, lut, segmentation = segment_array(affinities, NEAREST, settings, image)
    if penalty:
        without = segment_array(affinities, NEAREST, settings.model_copy(update={"grey_penalty": 0.0}))
        assert len(np.unique(without[2])) < len(np.unique(lut)), "test invalid: the penalty changes nothing"
    for module, name, value in (
        (edge_files, "FRAGMENTS_PER_PART", 40),
        (graph_stage, "BATCH_EDGES", 40),
        (graph_stage, "LARGEST_EDGES", 20),
        (graph_stage, "PIECE", 100),
        (numbering, "SHARD", 32),
    ):
        monkeypatch.setattr(module, name, value)
    report, written = segmented(tmp_path, affinities, settings, 32, image=image)
    assert report["levels"] > 1, "test invalid: no component is large"
    assert report["fragments"] > 100 and report["fragments"] > report["segments"] > 3
    np.testing.assert_array_equal(written["labels/fragments"], fragments)
    np.testing.assert_array_equal(written["labels/segmentation"], segmentation)
    np.testing.assert_array_equal(written["lut"], lut)
    for name in ("edges", "mean", "std", "size", *(("penalty",) if penalty else ())):
        np.testing.assert_array_equal(written[f"region_graph/{name}"], getattr(graph, name))
    assert report["edges"] == len(graph.edges)
    voxels = np.bincount(fragments[fragments > 0].astype(int))
    np.testing.assert_array_equal(written["region_graph/voxels"], voxels)
    middle = (graph.middle * LAYOUT["voxel_size"] + LAYOUT["offset"]).astype(np.float32)
    np.testing.assert_array_equal(written["region_graph/position"], middle)


def test_an_outline_takes_voxels_and_changes_nothing_else(affinities, tmp_path):
    settings = SegmentationSettings(max_distance=8, outline=0.5)
    fragments, _, lut, segmentation = segment_array(affinities, NEAREST, settings)
    plain = segment_array(affinities, NEAREST, settings.model_copy(update={"outline": 0.0}))
    kept = segmentation > 0
    assert 0.2 < kept.sum() / (plain[3] > 0).sum() < 0.9, "test invalid: all or nothing is kept"
    np.testing.assert_array_equal(segmentation[kept], plain[3][kept])
    np.testing.assert_array_equal(lut, plain[2])
    np.testing.assert_array_equal(fragments, plain[0])
    _, written = segmented(tmp_path, affinities, settings, 32)
    np.testing.assert_array_equal(written["labels/fragments"], fragments)
    np.testing.assert_array_equal(written["labels/segmentation"], segmentation)
    np.testing.assert_array_equal(written["lut"], lut)


def test_a_penalty_without_an_image_is_refused(affinities, tmp_path):
    with pytest.raises(InputError, match="needs the image"):
        segmented(tmp_path, affinities, SegmentationSettings(max_distance=8, grey_penalty=0.1), 32)


def test_an_edge_knows_where_its_contact_is():
    nodes = np.zeros((4, 6, 5), np.int64)
    nodes[2:], nodes[2:, 4:] = 1, 2
    affinities = np.full((3, 4, 6, 5), 9, np.uint8)
    whole = (slice(0, 4), slice(0, 6), slice(0, 5))
    graph = merge_edges([block_edges(nodes, affinities, NEAREST, whole)], np.array([1, 2, 3], np.uint64))
    pairs = zip(graph.edges.tolist(), graph.middle.tolist(), strict=True)
    middles = {tuple(edge): tuple(middle) for edge, middle in pairs}
    assert middles == {(1, 2): (2.0, 2.0, 2.5), (1, 3): (2.0, 5.0, 2.5), (2, 3): (3.0, 4.0, 2.5)}


def test_levels_that_round_to_one_number_are_two_levels(affinities, tmp_path, monkeypatch):
    settings = SegmentationSettings(linkage="mean", max_distance=8, threshold=0.5)
    levels = iter([128.0, 127.5])
    monkeypatch.setattr(graph_stage, "choose_level", lambda fits, goal, reached: next(levels))
    report, written = segmented(tmp_path, affinities, settings, 32)
    _, _, lut, segmentation = segment_array(affinities, NEAREST, settings)
    assert report["levels"] == 2
    np.testing.assert_array_equal(written["lut"], lut)
    np.testing.assert_array_equal(written["labels/segmentation"], segmentation)


class Weighing(Threads):
    """Threads that note how many bytes would have travelled to a worker."""

    def __init__(self):
        super().__init__(2)
        self.bytes = {}

    def serve(self, step, work):
        import cloudpickle

        self.bytes[step.split("-")[0]] = len(cloudpickle.dumps(work))
        return super().serve(step, work)


def test_what_travels_does_not_grow_with_the_blocks(affinities, tmp_path):
    # components of noise: fragments by the hundred; 8 blocks, then 8 times as many of the same
    settings = SegmentationSettings(fragments="components", boundary_threshold=0.6, threshold=0.3)
    blocks, weights, found = [], [], []
    for times in (1, 3):
        pool = Weighing()
        many = np.tile(affinities[:, :64, :64, :64], (1, 1, times, times))
        folder = tmp_path / str(times)
        folder.mkdir()
        report, _ = segmented(folder, many, settings, 32, pool)
        blocks.append(8 * times**2)
        weights.append(pool.bytes)
        found.append(report["fragments"])
    assert found[1] > found[0] + 1000, "test invalid: hardly more fragments"
    assert {"fragments", "edges", "naming", "merging", "agglomeration", "labels"} <= set(weights[0])
    for step, before in weights[0].items():
        bases = 8 * (blocks[1] - blocks[0])
        assert weights[1][step] - before <= bases + 200, step


def test_nodes_are_looked_up_in_the_shards_of_their_blocks(tmp_path, monkeypatch):
    grid, counts = Grid((2, 2, 8), (2, 2, 2)), [3, 0, 4, 2]
    with open_run(tmp_path / "out.zarr", "segment", {}, []) as run:
        create_array(
            run.path, "scratch/fragments", shape=grid.shape, dtype=np.uint32, chunks=(2, 2, 2), **LAYOUT
        )
        for number, count in enumerate(counts):
            run.ledger.save_table("fragments", number, sizes=np.ones(count, np.int64))
        settings = SegmentationSettings()
        nodes = Nodes(Stage(run, grid, None, (), settings, Threads(1), Silent()))
        table = np.arange(100, 109, dtype=np.uint64)
        write_table(run.path, NODE_TO_FRAGMENT, table, longest=2)
        asked = np.array([8, 0, 4, 4, 2, 7])
        np.testing.assert_array_equal(nodes.look_up(NODE_TO_FRAGMENT, asked), table[asked])
        assert nodes.look_up(NODE_TO_FRAGMENT, asked[:0]).tolist() == []
        assert nodes.blocks_of(asked).tolist() == [3, 0, 2, 2, 0, 3]
        assert [nodes.of_block(number) for number in range(4)] == [(0, 3), (3, 3), (3, 7), (7, 9)]


def test_rows_come_back_from_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr("connectomics.io.row_files.BUFFER_BYTES", 30)
    files = RowFiles(tmp_path / "rows", {"a": "i8", "b": "u1"})
    for first in range(0, 12, 4):
        files.append(first % 3, {"a": np.arange(first, first + 4), "b": np.full(4, first)})
    files.append(0, {"a": np.array([7]), "b": np.array([8])})
    files.flush()
    assert files.read(0)["a"].tolist() == [0, 1, 2, 3, 7] and files.read(0)["b"].tolist() == [0, 0, 0, 0, 8]
    assert files.read(1)["a"].tolist() == [4, 5, 6, 7] and files.read(2)["b"].tolist() == [8] * 4
    assert files.read(5)["a"].tolist() == []
    files.write(1, "new", {"a": np.array([9]), "b": np.array([1])})
    assert files.read(1, "new")["a"].tolist() == [9] and files.read(1)["a"].tolist() == [4, 5, 6, 7]
    with pytest.raises(FileNotFoundError):  # a part that nobody wrote is no empty part
        files.read(2, "new")
    files.drop(DEALT)
    assert files.read(1)["a"].tolist() == [] and files.read(1, "new")["b"].tolist() == [1]
