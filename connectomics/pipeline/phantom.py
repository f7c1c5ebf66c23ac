"""Write a phantom: images, truth and skeletons, block by block at any size."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.grid import Block, Box, Grid, chunk_for_block
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.output import Run, open_run
from connectomics.blockwise.pool import Pool
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_blocks
from connectomics.errors import InputError, OutputExistsError
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.place import Place, as_place, remove
from connectomics.io.pyramid import build_pyramid
from connectomics.io.skeletons import write_swc
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.pipeline.resources import memory_of_a_block, open_pool, pyramid_levels
from connectomics.pipeline.settings import MemorySettings, RunSettings
from connectomics.roi import Roi, int_triple, triple

DEFAULT_BLOCK = 128
BYTES_PER_VOXEL = 80.0
"""Of a block while it is rendered (measured: 45 to 75 at 128 and 96 voxels a side)."""

TRUTH = "labels/truth"

Render = Callable[[Box], NDArray[Any]]


def write_phantom(
    out: str | Place,
    shape: Sequence[int],
    settings: PhantomSettings,
    products: Sequence[str],
    run_settings: RunSettings,
    progress: Progress,
    *,
    memory: int = MemorySettings().memory,
) -> dict[str, Any]:
    """Write `products` (of ``xray``, ``em``, ``labels/truth``) of a phantom to an OME-Zarr group.

    With truth, the skeletons go beside the group, ``OUT.skeletons/``, one SWC file an axon. What an earlier
    phantom left there is replaced as a whole: no part of it stays beside another phantom's.

    Returns
    -------
    dict
        Shape, voxel size, products, and with truth the number of axons that have a skeleton.
    """
    size = int_triple(shape, "--shape")
    if min(size) < 1:
        raise InputError(f"--shape: must be positive, got {size}.")
    block = run_settings.block or (_edge(run_settings, memory),) * 3
    chunk_for_block(block, size)
    identity: dict[str, Any] = {"command": "phantom", "shape": size, "products": sorted(products)}
    identity["settings"] = settings.model_dump(mode="json")
    out = as_place(out)
    skeletons, traced, earlier = out.with_suffix(".skeletons"), TRUTH in products, _earlier_products(out)
    _check_skeletons(skeletons, traced and TRUTH not in earlier, run_settings.overwrite)
    report: dict[str, Any] = {"output": str(out), "shape": size, "products": list(products)}
    with open_run(out, "phantom", identity, sorted({*products, *earlier}), **run_settings.claim) as run:
        if run.complete and (skeletons.exists() or not traced):
            return dict(run.ledger.noted("complete")) | {"already_complete": True}
        if traced or TRUTH in earlier:  # those of another phantom, or of this one, which are made again
            remove(skeletons)
        phantom = Phantom(settings)
        renders: dict[str, Render] = {"xray": phantom.xray, "em": phantom.em, TRUTH: phantom.labels}
        grid = Grid(size, run.settled_block(block))
        with open_pool(run_settings) as pool:
            for name in products:
                _write_array(run, name, renders[name], grid, settings, pool, progress)
        if traced:
            extent = triple([n * settings.voxel_size for n in size])
            axons = phantom.skeletons(Roi((0.0, 0.0, 0.0), extent))
            write_swc(skeletons, axons)
            report |= {"skeletons": str(skeletons), "axons": len(np.unique(axons.ids))}
        run.finish(report, products)
    return report


def _edge(run_settings: RunSettings, memory: int) -> int:
    """Voxels along each side of a block that is rendered within the memory."""
    budget = memory_of_a_block(run_settings, memory)
    return next((e for e in (DEFAULT_BLOCK, 96) if e**3 * BYTES_PER_VOXEL <= budget), 64)


def _write_array(
    run: Run,
    name: str,
    render: Render,
    grid: Grid,
    settings: PhantomSettings,
    pool: Pool,
    progress: Progress,
) -> None:
    step = name.replace("/", "-")
    if run.lacks(name, step):
        label = name.startswith("labels/")
        create_array(
            run.path,
            name,
            shape=grid.shape,
            dtype=np.uint64 if label else np.uint8,
            chunks=chunk_for_block(grid.block, grid.shape),
            voxel_size=(settings.voxel_size,) * 3,
            offset=(0.0, 0.0, 0.0),
            attributes={"phantom": settings.model_dump(mode="json")},
            kind="label" if label else "image",
        )
    volume = open_array(run.path, name)

    def write(block: Block) -> None:
        volume.write_box(block.box, render(block.box))

    run_blocks(step, grid, write, run.ledger, pool=pool, progress=progress)
    levels = pyramid_levels(grid.shape)
    if levels > 1:
        build_pyramid(run.path, name, levels)


def _earlier_products(out: Place) -> list[str]:
    """The products of the phantom that is there: other images in the group may be of other commands."""
    if isinstance(out, Path) and not out.is_dir():  # a file may be in the way, which is refused later
        return []
    return list((Ledger(out / "ledger" / "phantom").noted("run") or {}).get("products", ()))


def _check_skeletons(folder: Place, foreign: bool, overwrite: bool) -> None:
    if foreign and folder.exists() and not overwrite:
        raise OutputExistsError(
            f"{folder}: exists already; the phantom's skeletons would go there. "
            "Choose another output, or replace it with --overwrite."
        )
