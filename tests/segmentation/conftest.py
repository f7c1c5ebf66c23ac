"""A block driver on arrays: what blocks make of a volume, to be compared with the volume in one piece."""

import itertools
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from connectomics.affinities import affinities_from_labels
from connectomics.segmentation.agglomeration import agglomerate
from connectomics.segmentation.edges import block_edges
from connectomics.segmentation.fragments import block_fragments, required_halo
from connectomics.segmentation.region_graph import merge_edges
from connectomics.segmentation.relabel import relabel
from connectomics.segmentation.stitching import mutual_best, resolve

NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


@dataclass
class Blocks:
    """Fragments of a volume made block by block."""

    boxes: list  # write blocks, slices of the volume
    nodes: np.ndarray  # (z, y, x) int64 node of each voxel, -1 = background
    links: np.ndarray  # (m, 2) nodes, before any filter
    table: np.ndarray  # node -> fragment
    fragments: np.ndarray


def boxes_of(shape, block):
    edges = (block,) * 3 if isinstance(block, int) else block
    ranges = [[slice(i, min(i + b, n)) for i in range(0, n, b)] for n, b in zip(shape, edges, strict=True)]
    return list(itertools.product(*ranges))


def cut(box, shape, halo):
    """The box grown by the halo and cut at the volume's faces, and the box as slices of that."""
    outer = tuple(
        slice(max(0, s.start - halo), min(n, s.stop + halo)) for s, n in zip(box, shape, strict=True)
    )
    inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))
    return outer, inner


def fragments_in_blocks(affinities, settings, block, *, offsets=NEAREST, halo=None, keep_links=True):
    shape = affinities.shape[1:]
    halo = required_halo(settings) if halo is None else halo
    boxes = boxes_of(shape, block)
    nodes = np.full(shape, -1, np.int64)
    found, wanted, before = [], [], 0
    for box in boxes:
        outer, inner = cut(box, shape, halo)
        corner = tuple(s.start for s in outer)
        made = block_fragments(affinities[(slice(None), *outer)], offsets, inner, corner, shape, settings)
        nodes[box] = made.labels.astype(np.int64) - 1
        nodes[box][made.labels > 0] += before
        wanted.append((made.link_labels.astype(np.int64) - 1 + before, made.link_voxels, made.votes))
        found.append((len(made.keys), made.keys, made.sizes))
        before += len(made.keys)
    pairs = [np.stack([label, nodes[tuple(voxels.T)]], axis=1) for label, voxels, _ in wanted]
    links = np.concatenate(pairs)
    if any(votes for _, _, votes in wanted):
        links = mutual_best(links, np.repeat(np.arange(len(found)), [n for n, _, _ in found]))
    table = resolve(found, links if keep_links else links[:0])
    return Blocks(boxes, nodes, links, table, with_background(table)[nodes + 1])


def with_background(table):
    return np.concatenate([np.zeros(1, np.uint64), table])


def graph_of(blocks, affinities, *, offsets=NEAREST, across_faces=True, with_histogram=False):
    """The region graph; `across_faces` off forgets the voxel pairs of two blocks."""
    reach = max(-min(offset) for offset in offsets) if across_faces else 0
    parts = []
    for box in blocks.boxes:
        low = tuple(slice(max(0, s.start - reach), s.stop) for s in box)
        inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, low, strict=True))
        channels = affinities[(slice(None, len(offsets)), *low)]
        parts.append(block_edges(blocks.nodes[low], channels, offsets, inner, with_histogram=with_histogram))
    return merge_edges(parts, blocks.table)


def segmentations(blocks, graph, linkage, thresholds):
    """One segmentation per threshold, by one agglomeration."""
    count = int(blocks.table.max(initial=0))
    tree = agglomerate(graph, count, linkage, min(thresholds))
    return [relabel(blocks.fragments, tree.lut(threshold)) for threshold in thresholds]


def tubes_and_cells(shape=(96, 100, 104), seed=0, noise=0.0):
    """Labels and affinities: below, large cells; above, long tubes of changing width; noise in logits."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.mgrid[tuple(slice(0, n) for n in shape)], -1).astype(np.float64)
    centres = random.uniform(0, shape, (60, 3))
    cells = cKDTree(centres).query(grid)[1] + 1
    wobble = 3 * np.sin(grid[..., 2] / 17) + 2 * np.cos(grid[..., 2] / 7)
    axes = random.uniform(0, shape[:2], (90, 2))
    across = np.stack([grid[..., 0] + wobble, grid[..., 1] + 0.1 * grid[..., 2]], -1)
    tubes = cKDTree(axes).query(across)[1] + 1000
    labels = np.where(grid[..., 0] < shape[0] / 2, cells, tubes).astype(np.uint32)
    return labels, noisy_affinities(eroded(labels), noise, random)


def eroded(labels):
    """Labels with a border of background between objects, as networks see them."""
    alike = np.ones(labels.shape, bool)
    for axis in range(3):
        for step in (-1, 1):
            alike &= np.roll(labels, step, axis) == labels
    return np.where(alike, labels, 0)


def noisy_affinities(labels, noise, random, offsets=NEAREST):
    true, inside = affinities_from_labels(labels, offsets)
    logits = 8.0 * true - 4.0
    for channel in range(len(true) if noise else 0):
        rough = gaussian_filter(random.standard_normal(labels.shape), 1.0)
        logits[channel] += noise * rough / rough.std()
    return np.where(inside, np.round(255 / (1 + np.exp(-logits))), 0).astype(np.uint8)


@pytest.fixture(scope="session")
def drawn():
    """The functions of this file, for tests (which cannot import it)."""
    return SimpleNamespace(**{name: value for name, value in globals().items() if not name.startswith("_")})
