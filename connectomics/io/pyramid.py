"""The coarser levels of a multiscale group, made block by block and listed when all are there."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from connectomics.errors import InputError
from connectomics.io.downsampling import downsample, next_factor
from connectomics.io.ome_metadata import Kind, Level, multiscale_attributes, ome_block
from connectomics.io.ome_zarr import ArrayLayout, create_level, open_array, register_label
from connectomics.io.place import Place, as_place, remove, subfolders
from connectomics.io.volume import Box, Volume
from connectomics.roi import IntTriple, Triple, triple

Progress = Callable[[int, int], None]
"""Called with the number of blocks done and in all."""


def build_pyramid(
    path: str | Place, name: str, levels: int | None = None, *, progress: Progress | None = None
) -> int:
    """Make the coarser levels of a multiscale group: images by mean, labels by mode (ties to the smaller id).

    Each level halves the one before it (axes with long voxels wait for the others). No more than one write
    block (shard or chunk) and the eightfold it is made of are in memory. The levels are listed in the
    metadata when all are written, so a reader never meets half a pyramid; an interrupted one is made anew.

    Parameters
    ----------
    path, name
        Root group and group inside it, as for `create_array`.
    levels
        Levels in all, the finest included; fewer are made where one voxel is left. By default until the
        coarsest fits in one chunk.
    progress
        Told of every block.

    Returns
    -------
    int
        Levels there are now.
    """
    import zarr

    from connectomics.io.zarr_store import zarr_at

    finest = open_array(path, name)
    where = as_place(path) / name if name else as_place(path)
    group = zarr.open_group(zarr_at(where), mode="r+")
    kind: Kind = "label" if "image-label" in ome_block(group.attrs.asdict()) else "image"
    plan = plan_levels(finest, levels)
    _list_levels(group, finest, [finest.voxel_size], kind)
    _remove_leftovers(where)
    jobs = [len(list(write_boxes(shape, _write_unit(finest)))) for _, shape in plan]
    done = 0
    source, sizes = finest, [finest.voxel_size]
    for index, (factor, shape) in enumerate(plan, start=1):
        create_level(group, str(index), _layout(finest, shape, group.metadata.zarr_format))
        sizes.append(triple([v * f for v, f in zip(sizes[-1], factor, strict=True)]))
        target = _level_volume(group, index, finest, sizes[-1])
        for box in write_boxes(shape, _write_unit(finest)):
            downsample_box(source, target, factor, box, kind)
            done += 1
            if progress is not None:
                progress(done, sum(jobs))
        source = target
    _list_levels(group, finest, sizes, kind)
    if kind == "label":
        register_label(where)
    return len(sizes)


def plan_levels(volume: Volume, levels: int | None) -> list[tuple[IntTriple, IntTriple]]:
    """Factor and shape of each coarser level; see `build_pyramid` for `levels`."""
    if levels is not None and levels < 1:
        raise InputError(f"levels: expected at least 1 (the finest), got {levels}.")
    plan: list[tuple[IntTriple, IntTriple]] = []
    shape, size = volume.shape, volume.voxel_size
    chunk = volume.chunks or (64, 64, 64)
    while max(shape) > 1 and (levels is None or len(plan) < levels - 1):
        if levels is None and all(n <= c for n, c in zip(shape, chunk, strict=True)):
            break
        factor = next_factor(size, shape)
        z, y, x = (-(-n // f) for n, f in zip(shape, factor, strict=True))
        shape = (z, y, x)
        size = triple([v * f for v, f in zip(size, factor, strict=True)])
        plan.append((factor, shape))
    return plan


def downsample_box(source: Volume, target: Volume, factor: IntTriple, box: Box, kind: Kind) -> None:
    """Fill one box of a coarser level from the level below it, a layer of chunks at a time."""
    depth = (target.chunks or (64, 64, 64))[0]
    layers = []
    for start in range(box[0].start, box[0].stop, depth):
        layer = (slice(start, min(start + depth, box[0].stop)), box[1], box[2])
        z, y, x = (
            slice(s.start * f, min(s.stop * f, n))
            for s, f, n in zip(layer, factor, source.shape, strict=True)
        )
        layers.append(downsample(source.read_box((z, y, x)), factor, kind))
    target.write_box(box, layers[0] if len(layers) == 1 else np.concatenate(layers, axis=-3))


def write_boxes(shape: Sequence[int], unit: Sequence[int]) -> Iterator[Box]:
    """Boxes of `unit` voxels that cover a volume, in order; the last along an axis may be smaller."""
    starts = [range(0, n, u) for n, u in zip(shape, unit, strict=True)]
    for corner in itertools.product(*starts):
        z, y, x = (slice(a, min(a + u, n)) for a, u, n in zip(corner, unit, shape, strict=True))
        yield z, y, x


def _write_unit(volume: Volume) -> IntTriple:
    return volume.shards or volume.chunks or (64, 64, 64)


def _layout(finest: Volume, shape: IntTriple, zarr_format: int) -> ArrayLayout:
    return {
        "shape": shape if finest.channels is None else (finest.channels, *shape),
        "dtype": finest.dtype,
        "chunks": finest.chunks or (64, 64, 64),
        "shards": finest.shards,
        "voxel_size": finest.voxel_size,
        "offset": finest.offset,
        "zarr_format": zarr_format,
    }


def _level_volume(group: Any, index: int, finest: Volume, size: Triple) -> Volume:
    return Volume(
        array=group[str(index)],
        voxel_size=size,
        offset=finest.offset,
        name=f"{finest.name}/{index}",
        chunks=finest.chunks,
        shards=finest.shards,
    )


def _list_levels(group: Any, finest: Volume, sizes: Sequence[Triple], kind: Kind) -> None:
    levels = [Level(str(i), size, finest.offset) for i, size in enumerate(sizes)]
    attributes = multiscale_attributes(
        levels,
        channels=finest.channels is not None,
        kind=kind,
        name=str(ome_block(group.attrs.asdict())["multiscales"][0].get("name", "")),
        zarr_format=group.metadata.zarr_format,
    )
    group.attrs.update(attributes)


def _remove_leftovers(where: Place) -> None:
    for folder in subfolders(where):
        if folder.name.isdigit() and folder.name != "0":
            remove(folder)
