"""Copy a volume of any format to OME-Zarr with a pyramid, block by block."""

from typing import Any

import numpy as np

from connectomics.blockwise.grid import Block, Grid, broken_chunks
from connectomics.blockwise.output import open_run
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_blocks
from connectomics.errors import InputError
from connectomics.io.checks import sample_boxes
from connectomics.io.locate import lies_in
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.opening import open_volume
from connectomics.io.place import Place, as_place
from connectomics.io.pyramid import build_pyramid
from connectomics.io.settings import ConvertSettings
from connectomics.io.volume import Volume
from connectomics.pipeline.resources import memory_of_a_block, open_pool, pyramid_levels
from connectomics.pipeline.settings import MemorySettings, RunSettings
from connectomics.roi import IntTriple

BLOCK_EDGE = 128
COPIES = 4
"""Of a block, in memory at once: as read, as written, and while it is packed."""


def convert_volume(
    location: str,
    out: str | Place,
    settings: ConvertSettings,
    voxel_size: tuple[float, float, float] | None,
    run_settings: RunSettings,
    progress: Progress,
    *,
    channels: bool = False,
    memory: int = MemorySettings().memory,
) -> dict[str, Any]:
    """Copy `location` to the OME-Zarr image `out`, geometry kept; resumes when called again.

    `channels` takes (c, z, y, x) data too. Labels become a label image, whose coarser levels hold no other
    ids: what its metadata calls so, and, unless `settings` say otherwise, integers of 32 or 64 bits.

    Returns
    -------
    dict
        Output, shape, type, levels.
    """
    volume = open_volume(location, voxel_size, channels=channels)
    out = as_place(out)
    if lies_in(volume.name, str(out)) or lies_in(str(out), volume.name):
        raise InputError(f"{out}: is the input, or holds it, or lies in it. Choose another output.")
    block = _block(settings, run_settings, memory, volume)
    # settled before it is part of the run's identity
    settings = settings.model_copy(update={"labels": _holds_labels(volume, settings)})
    identity = {"command": "convert", "settings": settings.model_dump(), "input": describe_input(volume)}
    if run_settings.overwrite:  # before anything is removed
        for box in sample_boxes(volume.shape, 3):
            volume.read_box(box)
    with open_run(
        out, "convert", identity, ["0"], **run_settings.claim, create=lambda: _create(out, volume, settings)
    ) as run:
        if run.complete:
            return dict(run.ledger.noted("complete")) | {"already_complete": True}
        target = open_array(out, "")

        def copy(one: Block) -> None:
            data = volume.read_box(one.box)
            if data.any():
                target.write_box(one.box, data)

        grid = Grid(volume.shape, run.settled_block(block))
        with open_pool(run_settings) as pool:
            run_blocks("copy", grid, copy, run.ledger, pool=pool, progress=progress)
        levels = settings.levels or pyramid_levels(volume.shape)
        if levels > 1:
            levels = build_pyramid(out, "", levels)
        report = {"output": str(out), "shape": volume.shape, "dtype": str(volume.dtype), "levels": levels}
        run.finish(report, ["0"])
    return report


def _block(settings: ConvertSettings, run_settings: RunSettings, memory: int, volume: Volume) -> IntTriple:
    """The write block (voxels, zyx): whole chunks or shards, which no two blocks share."""
    piece = settings.shard or settings.chunk
    if settings.chunk < 1 or piece < 1 or piece % settings.chunk:
        raise InputError(f"--shard {piece}: must be a multiple of --chunk {settings.chunk}.")
    edge = piece * max(1, BLOCK_EDGE // piece)
    voxel = COPIES * volume.dtype.itemsize * (1 if volume.channels is None else volume.channels)
    while edge > piece and edge**3 * voxel > memory_of_a_block(run_settings, memory):
        edge -= piece
    block = run_settings.block or (edge,) * 3
    if any(b < 1 or b % piece for b in block):
        raise broken_chunks(block, piece, "shards" if settings.shard else "chunks")
    return block


def _holds_labels(volume: Volume, settings: ConvertSettings) -> bool:
    if settings.labels is not None:
        return settings.labels
    wide = volume.dtype.kind in "iu" and volume.dtype.itemsize >= 4
    return volume.labels or (wide and volume.channels is None)


def _create(out: Place, volume: Volume, settings: ConvertSettings) -> Volume:
    return create_array(
        out,
        "",
        shape=tuple(volume.array.shape),
        dtype=volume.dtype,
        chunks=(settings.chunk,) * 3,
        shards=None if settings.shard is None else (settings.shard,) * 3,
        voxel_size=volume.voxel_size,
        offset=volume.offset,
        attributes=volume.attributes,
        kind="label" if settings.labels else "image",
        zarr_format=settings.zarr_format,
    )


def describe_input(volume: Volume) -> dict[str, Any]:
    """What of an input decides whether two runs are the same run."""
    return {
        "path": volume.name,
        "shape": list(volume.array.shape),
        "dtype": str(np.dtype(volume.dtype)),
        "voxel_size": list(volume.voxel_size),
        "offset": list(volume.offset),
    }
