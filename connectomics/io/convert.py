"""Copy any volume into an OME-Zarr with a pyramid, block by block, its place in space kept."""

from pathlib import Path

from connectomics.io.ome_metadata import Kind
from connectomics.io.ome_zarr import create_array, create_parents, open_array, register_label
from connectomics.io.pyramid import Progress, build_pyramid, write_boxes
from connectomics.io.settings import ConvertSettings
from connectomics.io.staging import appearing
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple

_COPIED_AT_ONCE = 64 * 2**20
"""Bytes of a block that is copied, where one chunk or shard is not larger."""


def convert(
    volume: Volume,
    out_path: str | Path,
    settings: ConvertSettings | None = None,
    progress: Progress | None = None,
) -> Volume:
    """Copy `volume` to an OME-Zarr at `out_path`; it appears when it is complete, and not before.

    Parameters
    ----------
    volume
        (z, y, x) or (c, z, y, x), from `open_volume`.
    out_path
        The group to make or, where the settings give a name, the group to add to.
    settings
        Name, levels, chunk, shard and zarr format.
    progress
        Told of every block of the copy, then of every block of the pyramid: done, in all.

    Returns
    -------
    Volume
        The copy, level 0.

    Raises
    ------
    OutputExistsError
        Something is there already.
    FormatError
        The input is corrupt; nothing is left behind.
    """
    settings = settings or ConvertSettings()
    out_path = Path(out_path)
    target = out_path / settings.name if settings.name else out_path
    if settings.name:
        create_parents(out_path, settings.name, settings.zarr_format)
    kind: Kind = "label" if Path(settings.name).parts[:1] == ("labels",) else "image"
    with appearing(target) as staged:
        _copy(volume, staged, settings, kind, progress)
        build_pyramid(staged, "", settings.levels, progress=progress)
    if kind == "label":
        register_label(target)
    return open_array(out_path, settings.name)


def _copy(
    volume: Volume, staged: Path, settings: ConvertSettings, kind: Kind, progress: Progress | None
) -> None:
    copy = create_array(
        staged,
        "",
        shape=volume.shape if volume.channels is None else (volume.channels, *volume.shape),
        dtype=volume.dtype,
        chunks=(settings.chunk,) * 3,
        shards=None if settings.shard is None else (settings.shard,) * 3,
        voxel_size=volume.voxel_size,
        offset=volume.offset,
        attributes=volume.attributes,
        kind=kind,
        zarr_format=settings.zarr_format,
        title=Path(settings.name).name or None,
    )
    boxes = list(write_boxes(volume.shape, _copied_unit(copy)))
    for done, box in enumerate(boxes, start=1):
        copy.write_box(box, volume.read_box(box))
        if progress is not None:
            progress(done, len(boxes))


def _copied_unit(copy: Volume) -> IntTriple:
    """Whole chunks or shards, widened along x, then y, as far as memory allows; rows suit most formats."""
    unit = list(copy.shards or copy.chunks or copy.shape)
    size = copy.dtype.itemsize * (copy.channels or 1)
    for axis in (2, 1):
        others = size * unit[0] * unit[1] * unit[2] // unit[axis]
        pieces = max(1, _COPIED_AT_ONCE // (others * unit[axis]))
        unit[axis] *= min(pieces, -(-copy.shape[axis] // unit[axis]))
    return unit[0], unit[1], unit[2]
