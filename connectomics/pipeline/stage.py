"""What the block functions of the segmentation stages share."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Box, Grid, inside
from connectomics.blockwise.output import Run
from connectomics.blockwise.pool import Pool, Threads
from connectomics.blockwise.progress import Progress, Silent
from connectomics.blockwise.run import BlockFunction, run_blocks
from connectomics.errors import InputError
from connectomics.inference.normalisation import Affine
from connectomics.io.files import write_atomically
from connectomics.io.ome_zarr import open_array
from connectomics.io.tables import read_table
from connectomics.io.volume import Volume
from connectomics.pipeline.region import Region
from connectomics.pipeline.selection import Selection
from connectomics.roi import IntTriple
from connectomics.segmentation.calibration import UNCALIBRATED, Calibration
from connectomics.segmentation.settings import SegmentationSettings

FRAGMENTS = "scratch/fragments"
"""Scratch array of block-local labels (uint32); becomes ``labels/fragments`` when the ids are known."""

NODE_TO_FRAGMENT = "scratch/node_to_fragment"
NODE_TO_SEGMENT = "scratch/node_to_segment"


@dataclass(frozen=True)
class Image:
    """The image of a region as a network sees it.

    Attributes
    ----------
    region : Region
        Where it is.
    affine : Affine
        From its grey values to standard deviations from the mean.
    """

    region: Region
    affine: Affine

    def read_box(self, box: Box) -> NDArray[np.float32]:
        """(z, y, x) of a box in voxels of the region."""
        return self.affine.apply(self.region.volume.read_box(self.region.in_volume(box)))


@dataclass(frozen=True)
class Stage:
    """The inputs of the segmentation stages.

    Attributes
    ----------
    run : Run
        Output and ledger.
    grid : Grid
        Write blocks over the region.
    affinities : Volume
        (c, z, y, x) uint8 over the region.
    offsets : sequence of tuple
        The affinity offset of each channel, voxels zyx.
    settings : SegmentationSettings
        How to segment.
    pool : Pool
        Where the block functions run.
    progress : Progress
        Who watches.
    calibration : Calibration
        How sure the affinities are.
    computed : Selection, optional
        Which parts have affinities, where a cascade chose them; default: all.
    image : Image, optional
        What the affinities are of; needed for a grey penalty.
    """

    run: Run
    grid: Grid
    affinities: Volume
    offsets: Sequence[IntTriple]
    settings: SegmentationSettings
    pool: Pool
    progress: Progress
    calibration: Calibration = UNCALIBRATED
    computed: Selection | None = None
    image: Image | None = None

    def __post_init__(self) -> None:
        if self.settings.grey_penalty and self.image is None:
            raise InputError("segmentation: a grey_penalty needs the image that the affinities are of.")

    def empty(self, box: Box) -> bool:
        """True where a cascade left the whole box out."""
        return self.computed is not None and self.computed.empty(box)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker on another machine needs: neither the pool nor who watches."""
        return self.__dict__ | {"pool": Threads(1), "progress": Silent()}

    def run_blocks(self, step: str, work: BlockFunction) -> None:
        """Run `work` over the grid, recorded in the ledger as `step`."""
        run_blocks(step, self.grid, work, self.run.ledger, pool=self.pool, progress=self.progress)

    def local_labels(self) -> Volume:
        """The scratch array of block-local labels."""
        return open_array(self.run.path, FRAGMENTS)


class Nodes:
    """Numbers every block's local fragments through: node = base of the block + local label - 1.

    It travels to every worker, so it holds one number per block; what is known of single nodes lies in
    tables beside the output, of which a worker reads the rows of the blocks that it touches.

    Parameters
    ----------
    stage
        The stage whose fragment tables are there.
    """

    def __init__(self, stage: Stage) -> None:
        self.grid = stage.grid
        self.path = stage.run.path
        self.labels = stage.local_labels()
        self.bases = _bases(stage)

    @property
    def total(self) -> int:
        """Number of nodes."""
        return int(self.bases[-1])

    def of_block(self, number: int) -> tuple[int, int]:
        """The first node of a block, and the first that is no longer its own."""
        return int(self.bases[number]), int(self.bases[number + 1])

    def blocks_of(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the block of each node."""
        return np.searchsorted(self.bases, nodes, "right") - 1

    def look_up(self, table: str, nodes: NDArray[np.int64]) -> NDArray[np.uint64]:
        """What a table with a row per node says of some nodes; only the rows of their blocks are read."""
        blocks = np.unique(self.blocks_of(nodes))
        rows = [self.of_block(int(number)) for number in blocks]
        starts = np.cumsum([0, *(last - first for first, last in rows)])[:-1]
        place = np.searchsorted(blocks, self.blocks_of(nodes))
        values = read_table(self.path, table, rows)
        return np.asarray(values[nodes - self.bases[blocks][place] + starts[place]], np.uint64)

    def read(self, box: Box) -> NDArray[np.int64]:
        """Nodes of the voxels of a box, -1 where there is no fragment."""
        local = self.labels.read_box(box)
        nodes = local.astype(np.int64)
        for number in self._blocks(box):
            block = self.grid[number].box
            common = tuple(
                slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(block, box, strict=True)
            )
            here = inside((common[0], common[1], common[2]), box)
            nodes[here] += self.bases[number] - 1
        nodes[local == 0] = -1
        return nodes

    def at(self, voxels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Nodes of single voxels, (n, 3) zyx; -1 where there is no fragment."""
        result = np.full(len(voxels), -1, np.int64)
        numbers = np.array([self.grid.containing(voxel) for voxel in voxels], np.int64)
        for number in np.unique(numbers):
            here = np.flatnonzero(numbers == number)
            low, high = voxels[here].min(axis=0), voxels[here].max(axis=0) + 1
            z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
            local = self.labels.read_box((z, y, x))[tuple((voxels[here] - low).T)].astype(np.int64)
            result[here] = np.where(local > 0, local - 1 + self.bases[number], -1)
        return result

    def _blocks(self, box: Box) -> list[int]:
        low = [s.start // b for s, b in zip(box, self.grid.block, strict=True)]
        high = [(s.stop - 1) // b for s, b in zip(box, self.grid.block, strict=True)]
        _, ny, nx = self.grid.counts
        return [
            (z * ny + y) * nx + x
            for z in range(low[0], high[0] + 1)
            for y in range(low[1], high[1] + 1)
            for x in range(low[2], high[2] + 1)
        ]


def _bases(stage: Stage) -> NDArray[np.int64]:
    """The first node of each block, and the number of nodes; counted once, then read."""
    path = stage.run.path / "scratch" / "bases.npy"
    if not path.exists():
        blocks = (block.number for block in stage.grid)
        counts = [len(table["sizes"]) for table in stage.run.ledger.load_tables("fragments", blocks, "sizes")]
        stream = io.BytesIO()
        np.save(stream, np.cumsum([0, *counts], dtype=np.int64))
        write_atomically(path, stream.getvalue())
    return np.asarray(np.load(io.BytesIO(path.read_bytes()), allow_pickle=False), np.int64)
