"""Labels under nodes, read block by block."""

import numpy as np
import pytest

from connectomics.errors import GeometryError, InputError
from connectomics.evaluation.sampling import labels_at_nodes

SIZE, OFFSET = (40.0, 16.0, 10.0), (1000.0, -33.0, 7.0)


def volume(seed=0, shape=(20, 30, 40)):
    return np.random.default_rng(seed).integers(0, 2**63, shape).astype(np.uint64)


def nodes_in(shape, n=200):
    share = np.random.default_rng(1).random((n, 3))
    return share * np.array(shape) * SIZE + OFFSET


@pytest.mark.parametrize("block", [(4, 4, 4), (7, 16, 5), (128, 128, 128)])
def test_every_block_size_reads_the_same(block):
    labels, nodes = volume(), nodes_in((20, 30, 40))
    voxels = np.floor((nodes - OFFSET) / SIZE).astype(int)
    expected = labels[tuple(voxels.T)]
    got = labels_at_nodes(labels.__getitem__, labels.shape, SIZE, OFFSET, nodes, block)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.uint64


def test_only_boxes_with_nodes_are_read_and_none_is_larger_than_a_block():
    labels, boxes = volume(), []

    def read(box):
        boxes.append(box)
        return labels[box]

    nodes = np.array([(0.5, 0.5, 0.5), (3.5, 3.5, 3.5), (19.5, 29.5, 39.5)]) * SIZE + OFFSET
    labels_at_nodes(read, labels.shape, SIZE, OFFSET, nodes, (8, 8, 8))
    assert len(boxes) == 2
    assert max(s.stop - s.start for box in boxes for s in box) <= 8


def test_low_faces_belong_and_high_faces_do_not():
    labels = volume()
    low = labels_at_nodes(labels.__getitem__, labels.shape, SIZE, OFFSET, np.array([OFFSET]))
    assert low[0] == labels[0, 0, 0]
    end = np.array(OFFSET) + np.array(SIZE) * labels.shape
    below = np.nextafter(end, -np.inf)[None]
    assert labels_at_nodes(labels.__getitem__, labels.shape, SIZE, OFFSET, below)[0] == labels[-1, -1, -1]
    with pytest.raises(GeometryError, match="1 skeleton nodes lie outside"):
        labels_at_nodes(labels.__getitem__, labels.shape, SIZE, OFFSET, end[None] + 0.01)
    with pytest.raises(GeometryError, match="outside"):
        labels_at_nodes(labels.__getitem__, labels.shape, SIZE, OFFSET, np.array([OFFSET]) - 0.01)


def test_no_nodes():
    assert labels_at_nodes(volume().__getitem__, (20, 30, 40), SIZE, OFFSET, np.zeros((0, 3))).size == 0


def test_negative_labels_are_refused():
    labels = np.full((4, 4, 4), -1, np.int32)
    with pytest.raises(InputError, match="negative label -1"):
        labels_at_nodes(labels.__getitem__, labels.shape, (1, 1, 1), (0, 0, 0), np.ones((1, 3)), (4, 4, 4))
