"""How likely a prediction's affinities are wrong, voxel by voxel, written beside it block by block."""

import numpy as np

from connectomics.blockwise.grid import Block, Grid
from connectomics.blockwise.output import Run
from connectomics.blockwise.pool import Pool
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_blocks
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.pipeline.selection import Selection
from connectomics.segmentation.calibration import Calibration
from connectomics.segmentation.uncertainty import voxel_uncertainty

PRODUCT = "prediction_uncertainty"
"""Not the ``uncertainty`` of a segmentation: `predict` and `segment` may write to one output."""

EDGE = 128
"""Edge of a block, always the same: a resumed run finds the blocks of the one before."""


def write_uncertainty(
    run: Run,
    prediction: str,
    calibration: Calibration,
    pool: Pool,
    progress: Progress,
    computed: Selection | None = None,
) -> None:
    """Write ``prediction_uncertainty`` from the affinities in another array of the same output.

    Parameters
    ----------
    run
        Output and ledger.
    prediction
        Name of the array, (c, z, y, x) uint8, nearest neighbours first.
    calibration
        The model's.
    pool, progress
        Who works, and who watches.
    computed
        Which parts there are, where a cascade chose them.
    """
    affinities = open_array(run.path, prediction)
    if run.lacks(PRODUCT, PRODUCT):
        create_array(
            run.path,
            PRODUCT,
            shape=affinities.shape,
            dtype=np.uint8,
            chunks=tuple(min(EDGE // 2, n) for n in affinities.shape),
            voxel_size=affinities.voxel_size,
            offset=affinities.offset,
            attributes={"calibrated": calibration.said["uncertainty"]},
        )
    array = open_array(run.path, PRODUCT)

    def work(block: Block) -> None:
        if computed is not None and computed.empty(block.box):
            return
        doubt = voxel_uncertainty(affinities.read_box(block.box), calibration.voxels)
        if computed is not None:
            doubt[~computed.mask(block.box)] = 0
        array.write_box(block.box, doubt)

    grid = Grid(affinities.shape, (EDGE, EDGE, EDGE))
    run_blocks(PRODUCT, grid, work, run.ledger, pool=pool, progress=progress)
