"""Stage 5: write the final fragments, segments and uncertainty, block by block."""

import numpy as np

from connectomics.blockwise.grid import Block, chunk_for_block
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.pyramid import build_pyramid
from connectomics.io.tables import read_table
from connectomics.pipeline.resources import pyramid_levels
from connectomics.pipeline.stage import NODE_TO_FRAGMENT, NODE_TO_SEGMENT, Nodes, Stage
from connectomics.segmentation.heights import outlined
from connectomics.segmentation.relabel import relabel
from connectomics.segmentation.uncertainty import voxel_uncertainty

PRODUCTS = {
    "labels/segmentation": np.uint64,
    "labels/fragments": np.uint64,
    "uncertainty": np.uint8,
}


def write_labels(stage: Stage, nodes: Nodes) -> None:
    """Write ``labels/segmentation``, ``labels/fragments`` and ``uncertainty`` at full resolution."""
    shape = stage.grid.shape
    for name, dtype in PRODUCTS.items():
        if stage.run.lacks(name, "labels"):
            create_array(
                stage.run.path,
                name,
                shape=shape,
                dtype=dtype,
                chunks=chunk_for_block(stage.grid.block, shape),
                voxel_size=stage.affinities.voxel_size,
                offset=stage.affinities.offset,
                kind="label" if name.startswith("labels/") else "image",
                attributes={} if name.startswith("labels/") else {"calibrated": stage.calibration.said[name]},
            )
    volumes = {name: open_array(stage.run.path, name) for name in PRODUCTS}
    tables = {"labels/fragments": NODE_TO_FRAGMENT, "labels/segmentation": NODE_TO_SEGMENT}
    outline = stage.settings.outline

    def work(block: Block) -> None:
        local = nodes.labels.read_box(block.box)
        if local.any():
            for name, table in tables.items():
                own = read_table(nodes.path, table, [nodes.of_block(block.number)])
                lut = np.concatenate((np.zeros(1, np.uint64), own))
                labels = relabel(local, lut)
                if outline and name == "labels/segmentation":
                    affinities = stage.affinities.read_box(block.box)
                    labels = outlined(labels, affinities, block.corner, outline)
                volumes[name].write_box(block.box, labels)
        if stage.empty(block.box):
            return
        doubt = voxel_uncertainty(stage.affinities.read_box(block.box), stage.calibration.voxels)
        if stage.computed is not None:
            doubt[~stage.computed.mask(block.box)] = 0
        volumes["uncertainty"].write_box(block.box, doubt)

    stage.run_blocks("labels", work)


def build_pyramids(stage: Stage) -> None:
    """Add the coarser levels that viewers need."""
    if stage.run.ledger.noted("pyramids") is not None:
        return
    levels = pyramid_levels(stage.grid.shape)
    stage.progress.start("pyramids", len(PRODUCTS), 0)
    for name in PRODUCTS:
        if levels > 1:
            build_pyramid(stage.run.path, name, levels)
        stage.progress.advance("pyramids")
    stage.progress.finish("pyramids")
    stage.run.ledger.note("pyramids", {"levels": levels})
