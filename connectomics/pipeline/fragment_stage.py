"""Stage 2: affinities to fragments, block by block, with what joins them across faces."""

import numpy as np

from connectomics.blockwise.grid import Block, chunk_for_block, grow, inside
from connectomics.io.ome_zarr import create_array
from connectomics.pipeline.stage import FRAGMENTS, Stage
from connectomics.segmentation.block_fragments import BlockFragments
from connectomics.segmentation.fragments import block_fragments, required_halo
from connectomics.segmentation.grey import block_grey


def make_fragments(stage: Stage) -> None:
    """Write block-local fragments (uint32) and, per block, tables of their keys, sizes, links and greys."""
    shape = stage.grid.shape
    if stage.run.lacks(FRAGMENTS, "fragments"):
        create_array(
            stage.run.path,
            FRAGMENTS,
            shape=shape,
            dtype=np.uint32,
            chunks=chunk_for_block(stage.grid.block, shape),
            voxel_size=stage.affinities.voxel_size,
            offset=stage.affinities.offset,
        )
    labels, settings = stage.local_labels(), stage.settings
    halo = (required_halo(settings),) * 3

    def work(block: Block) -> None:
        outer = grow(block.box, halo, halo, shape)
        grey = np.zeros((0, 2), np.int64)
        if stage.empty(outer):
            found = BlockFragments.none(block.shape)
        else:
            affinities, own = stage.affinities.read_box(outer), inside(block.box, outer)
            corner = (outer[0].start, outer[1].start, outer[2].start)
            found = block_fragments(affinities, stage.offsets, own, corner, shape, settings)
            if stage.image is not None and len(found.sizes):
                image, here = stage.image.read_box(block.box), affinities[(slice(0, 3), *own)]
                grey = block_grey(found.labels, len(found.sizes), image, here, block.corner, settings)
        if len(found.sizes):  # an empty block keeps its chunks unwritten
            labels.write_box(block.box, found.labels)
        stage.run.ledger.save_table(
            "fragments",
            block.number,
            keys=found.keys,
            sizes=found.sizes,
            link_labels=found.link_labels,
            link_voxels=found.link_voxels,
            votes=np.array(found.votes),
            grey=grey,
        )

    stage.run_blocks("fragments", work)
