"""How likely a prediction's affinities are wrong, voxel by voxel, written beside it block by block."""

import numpy as np

from connectomics.blockwise.grid import Block, Grid
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.output import Run
from connectomics.blockwise.pool import Pool
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_blocks
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.place import Place, RemotePath, as_place
from connectomics.pipeline.selection import Selection
from connectomics.segmentation.calibration import Calibration
from connectomics.segmentation.uncertainty import voxel_uncertainty

PRODUCT = "uncertainty"

BESIDE = "prediction_uncertainty"
"""What a prediction's is called in an output that holds a segmentation, whose own is the ``uncertainty``."""

EDGE = 128
"""Edge of a block, always the same: a resumed run finds the blocks of the one before."""


def prediction_product(out: str | Place) -> str:
    """Name of a prediction's uncertainty in an output: `PRODUCT`, or `BESIDE` that of a segmentation."""
    return BESIDE if (as_place(out) / "ledger" / "segment" / "run.json").exists() else PRODUCT


def make_way(out: str | Place) -> None:
    """Rename the uncertainty of a complete prediction, before a segmentation writes its own there.

    In a bucket nothing can be renamed; there the segmentation is refused as by anything else in its way.
    """
    root = as_place(out)
    if isinstance(root, RemotePath) or not (root / PRODUCT).exists():
        return
    ledger = Ledger(root / "ledger" / "predict")
    kept = ledger.noted("kept") if ledger.noted("complete") is not None else None
    if kept and PRODUCT in kept and prediction_product(root) == PRODUCT:
        ledger.note("kept", [BESIDE if name == PRODUCT else name for name in kept])
        (root / PRODUCT).rename(root / BESIDE)


def write_uncertainty(
    run: Run,
    name: str,
    prediction: str,
    calibration: Calibration,
    pool: Pool,
    progress: Progress,
    computed: Selection | None = None,
) -> None:
    """Write how likely the affinities in another array of the same output are wrong.

    Parameters
    ----------
    run
        Output and ledger.
    name
        Of the array to write, see `prediction_product`.
    prediction
        Name of the affinities, (c, z, y, x) uint8, nearest neighbours first.
    calibration
        The model's.
    pool, progress
        Who works, and who watches.
    computed
        Which parts there are, where a cascade chose them.
    """
    affinities = open_array(run.path, prediction)
    if run.lacks(name, name):
        create_array(
            run.path,
            name,
            shape=affinities.shape,
            dtype=np.uint8,
            chunks=tuple(min(EDGE // 2, n) for n in affinities.shape),
            voxel_size=affinities.voxel_size,
            offset=affinities.offset,
            attributes={"calibrated": calibration.said["uncertainty"]},
        )
    array = open_array(run.path, name)

    def work(block: Block) -> None:
        if computed is not None and computed.empty(block.box):
            return
        doubt = voxel_uncertainty(affinities.read_box(block.box), calibration.voxels)
        if computed is not None:
            doubt[~computed.mask(block.box)] = 0
        array.write_box(block.box, doubt)

    grid = Grid(affinities.shape, (EDGE, EDGE, EDGE))
    run_blocks(name, grid, work, run.ledger, pool=pool, progress=progress)
