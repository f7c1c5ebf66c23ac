"""OME-Zarr groups on disk or in a bucket: create them whole or not at all, open them for writing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, Unpack

import numpy as np

from connectomics.errors import FormatError, GeometryError, InputError, OutputExistsError
from connectomics.io.ome_metadata import (
    OWN_KEY,
    Kind,
    Level,
    label_list,
    label_list_attributes,
    multiscale_attributes,
    parse_multiscale,
)
from connectomics.io.place import Place, RemotePath, as_place
from connectomics.io.staging import appearing, unwritable
from connectomics.io.volume import Volume
from connectomics.roi import IntTriple, int_triple, triple


class ArrayLayout(TypedDict):
    """What `create_array` must know of a new array; sizes are (z, y, x)."""

    shape: Sequence[int]
    """Voxels, (z, y, x) or (c, z, y, x)."""
    dtype: Any
    chunks: Sequence[int]
    """Voxels of one compressed piece."""
    shards: NotRequired[Sequence[int] | None]
    """Voxels of one file, a multiple of `chunks`; needs zarr format 3."""
    voxel_size: Sequence[float]
    """nm."""
    offset: Sequence[float]
    """nm, low corner of voxel 0."""
    attributes: NotRequired[Mapping[str, Any] | None]
    """Own attributes, JSON, such as ``{"offsets": [[-1, 0, 0], ...]}``."""
    kind: NotRequired[Kind]
    """"image" or "label"."""
    title: NotRequired[str | None]
    """What a viewer calls it; by default the last part of its path."""
    zarr_format: NotRequired[int]
    """3 (OME-Zarr 0.5, the default) or 2 (OME-Zarr 0.4)."""


def is_group(path: Place) -> bool:
    """True where a zarr group (or, in format 3, array) lies at a place."""
    return (path / "zarr.json").is_file() or (path / ".zgroup").is_file()


def create_group(path: str | Place, zarr_format: int = 3) -> None:
    """Make an empty zarr group at `path`; a group that is there already is left as it is.

    Raises
    ------
    OutputExistsError
        Something else is there.
    """
    import zarr

    from connectomics.io.zarr_store import zarr_at

    _format(zarr_format)
    path = as_place(path)
    if is_group(path):
        return
    if isinstance(path, RemotePath):
        zarr.create_group(zarr_at(path), zarr_format=_format(zarr_format))
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputExistsError(f"{path}: exists and is not a zarr group. Choose another output path.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        zarr.create_group(path, zarr_format=_format(zarr_format))
    except OSError as error:
        raise unwritable(error, str(path)) or error from None


def create_array(path: str | Place, name: str, **layout: Unpack[ArrayLayout]) -> Volume:
    """Make a new multiscale image or label image with one level, "0", and open it for writing.

    The group appears with all its metadata or not at all. Missing groups above it are made; a name such
    as ``labels/segmentation`` is listed in the ``labels`` group.

    Parameters
    ----------
    path
        The root group, ``OUT.zarr``.
    name
        Group inside it: ``"prediction"``, ``"labels/segmentation"``; ``""`` makes the root itself the image.
    **layout
        See `ArrayLayout`.

    Raises
    ------
    OutputExistsError
        The name is taken.
    GeometryError
        Shards that are not whole chunks, or sizes that make no sense.
    """
    import zarr

    path = as_place(path)
    target = path / name if name else path
    zarr_format = layout.get("zarr_format", 3)
    if name:
        create_parents(path, name, zarr_format)
    kind: Kind = layout.get("kind", "image")
    size, offset = triple(layout["voxel_size"], "voxel size"), triple(layout["offset"], "offset")
    attributes = multiscale_attributes(
        [Level("0", size, offset)],
        channels=len(layout["shape"]) == 4,
        kind=kind,
        name=layout.get("title") or Path(target.name).stem,
        zarr_format=zarr_format,
    )
    if layout.get("attributes"):
        attributes[OWN_KEY] = dict(layout["attributes"] or {})
    with appearing(target) as staged:
        group = zarr.create_group(staged, zarr_format=_format(zarr_format), attributes=attributes)
        create_level(group, "0", layout)
    if kind == "label":
        register_label(target)
    return open_array(path, name)


def create_level(group: Any, path: str, layout: ArrayLayout) -> None:
    """Make the array of one level in an open group, empty, compressed with zstd (format 3: checksummed)."""
    import numcodecs  # type: ignore[import-untyped]
    import zarr.codecs

    zarr_format = layout.get("zarr_format", 3)
    shape = tuple(int(n) for n in layout["shape"])
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise GeometryError(f"shape: expected positive (z, y, x) or (c, z, y, x), got {shape}.")
    chunks = int_triple(layout["chunks"], "chunks")
    shards = _parse_shards(layout.get("shards"), chunks, zarr_format)
    lead = shape[:-3]
    keywords: dict[str, Any] = {}
    if zarr_format == 3:
        keywords["compressors"] = [zarr.codecs.ZstdCodec(level=1, checksum=True)]
        keywords["dimension_names"] = list("czyx"[-len(shape) :])
    else:
        keywords["compressors"] = [numcodecs.Zstd(level=1)]  # others' format 2 readers know no checksum
        keywords["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    group.create_array(
        path,
        shape=shape,
        dtype=np.dtype(layout["dtype"]).newbyteorder("="),
        chunks=(*(1 if shards else n for n in lead), *chunks),
        shards=(*lead, *shards) if shards else None,
        fill_value=0,
        **keywords,
    )


def open_array(path: str | Place, name: str, level: int = 0) -> Volume:
    """Open a level of a multiscale group that this package wrote, for reading and writing.

    Raises
    ------
    InputError
        There is no such group, or it has no such level.
    FormatError
        Its metadata is damaged.
    """
    import zarr

    from connectomics.io.zarr_store import zarr_at

    where = as_place(path) / name if name else as_place(path)
    try:
        group = zarr.open_group(zarr_at(where), mode="r+")
    except FileNotFoundError:
        raise InputError(f"{where}: no such zarr group.") from None
    multiscale = parse_multiscale(group.attrs.asdict(), str(where))
    if multiscale is None:
        raise FormatError(f"{where}: the zarr group holds no multiscale image.")
    if not 0 <= level < len(multiscale.paths):
        raise InputError(f"{where}: no level {level}; it has {len(multiscale.paths)} (0 is the finest).")
    geometry = multiscale.geometry(level)
    if geometry is None:
        raise GeometryError(f"{where}: no unit of length is stated for its axes.")
    array = group[multiscale.paths[level]]
    if not isinstance(array, zarr.Array):
        raise FormatError(f"{where}: level {level} is not an array.")
    own = group.attrs.get(OWN_KEY)
    return Volume(
        array=array,
        voxel_size=geometry[0],
        offset=geometry[1],
        name=str(where),
        chunks=int_triple(array.chunks[-3:]),
        shards=int_triple(array.shards[-3:]) if array.shards else None,
        attributes=dict(own) if isinstance(own, Mapping) else {},
    )


def register_label(group_path: str | Place) -> None:
    """List a label group in the ``labels`` group above it (which it is made, if need be, to be)."""
    import zarr

    from connectomics.io.zarr_store import zarr_at

    group_path = as_place(group_path)
    if group_path.parent.name != "labels":
        return
    parent = zarr.open_group(zarr_at(group_path.parent), mode="r+")
    names = label_list(parent.attrs.asdict())
    if group_path.name not in names:
        parent.attrs.update(label_list_attributes([*names, group_path.name], parent.metadata.zarr_format))


def create_parents(path: Place, name: str, zarr_format: int) -> None:
    """Make the groups above `name`, the root included.

    Raises
    ------
    InputError
        The root is there in another zarr format.
    """
    import zarr

    from connectomics.io.zarr_store import zarr_at

    create_group(path, zarr_format)
    there = zarr.open_group(zarr_at(path), mode="r").metadata.zarr_format
    if there != zarr_format:
        raise InputError(f"{path}: is a zarr format {there} group; format {zarr_format} cannot go inside it.")
    for part in Path(name).parts[:-1]:
        path = path / part
        create_group(path, zarr_format)


def _parse_shards(
    shards: Sequence[int] | None, chunks: IntTriple, zarr_format: int
) -> tuple[int, int, int] | None:
    if shards is None:
        return None
    parsed = int_triple(shards, "shards")
    if zarr_format != 3:
        raise InputError("shards need zarr format 3 (OME-Zarr 0.5), got format 2.")
    if any(s % c or s <= 0 for s, c in zip(parsed, chunks, strict=True)):
        nearest = tuple(c * max(1, round(s / c)) for s, c in zip(parsed, chunks, strict=True))
        raise GeometryError(
            f"shards {parsed} are not whole chunks {chunks}; the nearest that fit: {nearest}."
        )
    return parsed


def _format(zarr_format: int) -> Literal[2, 3]:
    if zarr_format == 2:
        return 2
    if zarr_format == 3:
        return 3
    raise InputError(f"zarr format: expected 2 (OME-Zarr 0.4) or 3 (OME-Zarr 0.5), got {zarr_format}.")
