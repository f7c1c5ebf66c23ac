"""Stage 3: the affinities between fragments, summed block by block, each voxel pair exactly once."""

import numpy as np

from connectomics.blockwise.grid import Block, grow, inside
from connectomics.pipeline.stage import Nodes, Stage
from connectomics.segmentation.agglomeration import PERCENTS
from connectomics.segmentation.edges import block_edges


def collect_edges(stage: Stage) -> None:
    """Keep, per block, the edges between fragments, and which fragments of two blocks are one."""
    nodes = Nodes(stage)
    shape = stage.grid.shape
    offsets = stage.offsets if stage.settings.long_range else stage.offsets[:3]
    low = tuple(max(-offset[axis] for offset in offsets) for axis in range(3))

    def work(block: Block) -> None:
        outer = grow(block.box, low, (0, 0, 0), shape)
        labels = nodes.read(outer)
        affinities = stage.affinities.read_box(outer)
        edges = block_edges(
            labels,
            affinities[: len(offsets)],
            offsets,
            inside(block.box, outer),
            with_histogram=stage.settings.linkage in PERCENTS,
            corner=(outer[0].start, outer[1].start, outer[2].start),
        ).lumped(255.0 * stage.settings.threshold)
        table = stage.run.ledger.load_table("fragments", block.number)
        mine = nodes.bases[block.number] + table["link_labels"].astype(np.int64) - 1
        partners = nodes.at(table["link_voxels"])
        links = np.stack([mine, partners], axis=1)[partners >= 0]
        stage.run.ledger.save_table("edges", block.number, links=links, **edges.arrays())

    stage.run_blocks("edges", work)
