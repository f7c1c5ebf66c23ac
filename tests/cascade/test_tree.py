"""The chunks of a volume, level below level, and what looking at them takes."""

import h5py
import numpy as np
import pytest

from connectomics.cascade import tree as module
from connectomics.cascade.settings import Cascade
from connectomics.cascade.tree import ChunkTree, Part
from connectomics.inference.settings import InferenceSettings

SHAPE, SIZE = (48, 64, 200), (10.0, 10.0, 10.0)


@pytest.fixture(scope="module")
def cascade():
    level = {"threshold": 0.5, "sensitivity": 1.0, "false_positive_rate": 0.0, "seconds": 1.0}
    return Cascade.parse(
        {
            "name": "toy", "modality": "em", "voxel_size": SIZE, "chunk": (8, 8, 8),
            "levels": [level | {"detector": {"level": 1, "method": "bright"}}],
            "fine_seconds": 1.0, "dense_seconds": 1.0, "promise": {}, "objects": 1, "lost": 0,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    path = tmp_path_factory.mktemp("tree") / "volume.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)
    return f"{path}/raw"


@pytest.fixture
def watched(cascade, volume, monkeypatch):
    """A tree of a region whose boxes are written down, on a clock that only reading and looking move."""

    def look(box):
        seen.append(box)
        shape = [s.stop - s.start for s in box]
        clock[0] += {0: 1000.0, 1: 8.0}.get(len(seen) - 1, 2.0) * np.prod(shape)  # the first compiles
        return np.zeros(shape, np.float32)

    seen, clock = [], [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    box = (slice(0, 48), slice(16, 64), slice(96, 200))
    tree = ChunkTree(Part(volume, SIZE, box), SHAPE, cascade, InferenceSettings())
    tree.scores = [look]
    return tree, seen


def test_a_chunk_costs_what_it_takes_in_the_midst_of_the_part_reading_included(watched):
    tree, seen = watched
    assert tree.seconds(0) == 2.0  # neither what compiles nor one slow box counts
    spans = tree.spans[1]
    for box in seen:
        assert all(a.start <= s.start < s.stop <= a.stop for s, a in zip(box, spans, strict=True))
    assert len({box[2].start for box in seen}) > 2  # not one place again and again


def test_places_are_read_from_the_volume(cascade, volume):
    tree = ChunkTree(Part(volume, SIZE), SHAPE, cascade, InferenceSettings())
    assert 0 < tree.seconds(0) < 10
