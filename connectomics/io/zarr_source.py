"""Zarr volumes read lazily: OME-Zarr 0.4 and 0.5 of anyone's making, and plain arrays."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from connectomics.errors import ConnectomicsError, FormatError, InputError
from connectomics.io.locate import Location, missing_data_set
from connectomics.io.ome_metadata import OWN_KEY, VERSIONS, Multiscale, parse_multiscale
from connectomics.io.place import Place, RemotePath, as_place
from connectomics.io.source import Source, default_axes

_log = logging.getLogger(__name__)

_AXES = {axis: axis for axis in "tczyx"} | {"time": "t", "channel": "c", "channels": "c"}
"""Letter of each name that an array may give its axes."""


def read_zarr(location: Location, level: int, voxel_size: Sequence[float] | None) -> Source:
    """Open one level of an OME-Zarr image or label, or a plain zarr array.

    Parameters
    ----------
    location
        A group with multiscale metadata (its `level` is opened), one array of such a group, or a plain array.
        A group that holds one volume need not say which.
    level
        0 is the finest.
    voxel_size
        nm, zyx, of level 0, for files that state no unit.

    Raises
    ------
    InputError
        No such data set or level; the message names those there are.
    FormatError
        The metadata is damaged.
    """
    root = _open_root(location)
    node = _find(root, location)
    if _is_array(node):
        return _array_source(node, location.name, _parent(root, location), level, voxel_size)
    multiscale = _multiscale(node, location.name)
    if multiscale is None:
        _check_listable(node, location)
        there = list_zarr(node)
        if len(there) != 1:
            raise missing_data_set(location.name, "", [f"{name} {shape}" for name, shape in there.items()])
        (inner,) = there
        parts = [part for part in (location.inner, inner) if part]
        return read_zarr(Location(location.container, "/".join(parts), "zarr"), level, voxel_size)
    return _level_source(node, multiscale, level, voxel_size)


def list_zarr(group: Any) -> dict[str, tuple[int, ...]]:
    """Volumes in a group: multiscale groups by the shape of level 0, and arrays outside any."""
    found: dict[str, tuple[int, ...]] = {}
    pyramids: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # folders in the group that are no zarr, such as a ledger
        members = sorted(group.members(max_depth=None), key=lambda member: member[0])
    for name, node in members:
        if any(name.startswith(f"{pyramid}/") for pyramid in pyramids):
            continue
        if _is_array(node):
            if node.ndim >= 2:
                found[name] = tuple(node.shape)
            continue
        try:
            multiscale = _multiscale(node, name)
            if multiscale is not None:
                pyramids.append(name)
                found[name] = tuple(node[multiscale.paths[0]].shape)
        except (ConnectomicsError, KeyError) as error:  # the others are not its fault
            _log.warning("%s/%s: damaged, not listed: %s", group.store_path, name, error)
            pyramids.append(name)
    return {name: shape for name, shape in found.items() if not name.startswith("region_graph/")}


def members(location: Location) -> list[str]:
    """Names of the volumes in a zarr group; none where the location is an array or one multiscale image.

    Raises
    ------
    InputError
        No such group, or one on a web server, which cannot list what is in it.
    """
    root = _open_root(location)
    node = _find(root, location)
    if _is_array(node) or _multiscale(node, location.name) is not None:
        return []
    _check_listable(node, location)
    return list(list_zarr(node))


def _open_root(location: Location) -> Any:
    import zarr

    from connectomics.io.zarr_store import zarr_at

    place = as_place(location.container)
    try:
        return zarr.open(zarr_at(place), mode="r")
    except FileNotFoundError:
        if isinstance(place, RemotePath) and not place.link.read_only:
            place.is_dir()  # says so where there is no such bucket
        raise InputError(f"{location.container}: no such zarr group or array.") from None
    except ConnectomicsError:
        raise
    except Exception as error:
        raise FormatError(
            f"{location.container}: its zarr metadata cannot be read ({type(error).__name__}: {error}). "
            "Copy or make it again."
        ) from error


def _find(root: Any, location: Location) -> Any:
    if not location.inner:
        return root
    try:
        if not _is_array(root):
            return root[location.inner]
    except KeyError:
        pass
    except Exception as error:
        raise FormatError(f"{location.name}: its zarr metadata cannot be read ({error}).") from error
    if not _is_array(root):
        _check_listable(root, location)
    there = {"(the array itself)": root.shape} if _is_array(root) else list_zarr(root)
    shapes = [f"{name} {shape}" for name, shape in there.items()]
    raise missing_data_set(location.container, location.inner, shapes)


def _check_listable(group: Any, location: Location) -> None:
    """Say what to do where the volumes in a group can only be named, not found."""
    if not group.store.supports_listing and group.metadata.consolidated_metadata is None:
        raise InputError(
            f"{location.name}: is a group, and a web server cannot list what is in it. Name the volume: "
            f"{location.container}/NAME."
        )


def _parent(root: Any, location: Location) -> tuple[Multiscale | None, str]:
    """Multiscale metadata of the group that an array lies in, and the array's name there."""
    above, _, name = location.inner.rpartition("/")
    if not location.inner:
        return _parent_at(as_place(location.container))
    group = root[above] if above else root
    return _multiscale(group, location.name), name


def _parent_at(place: Place) -> tuple[Multiscale | None, str]:
    """The same for an array that its URL names, which `locate` does not look above."""
    if not isinstance(place, RemotePath) or not place.parent.key:
        return None, ""
    import zarr

    from connectomics.io.zarr_store import zarr_at

    try:
        group = zarr.open_group(zarr_at(place.parent), mode="r")
    except FileNotFoundError:
        return None, ""
    return _multiscale(group, str(place.parent)), place.name


def _array_source(
    array: Any,
    name: str,
    parent: tuple[Multiscale | None, str],
    level: int,
    voxel_size: Sequence[float] | None,
) -> Source:
    if level != 0:
        raise InputError(f"{name}: is one array; open the group that holds it to choose level {level}.")
    multiscale, path = parent
    if multiscale is not None and path in multiscale.paths:
        index = multiscale.paths.index(path)
        geometry = multiscale.geometry(index, voxel_size)
        return _source(array, name, multiscale.axes, geometry, labels=multiscale.labels)
    return _source(array, name, _own_axes(array), None)


def _own_axes(array: Any) -> str:
    """Axes as the array itself names them (zarr v3, or xarray in its attributes), else by their number.

    Unknown names, such as dim_0, count as none, but beside z, y and x they stand for an axis "?".
    """
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list | tuple) or len(names) != array.ndim:
        return default_axes(array.ndim)
    letters = [_AXES.get(str(name).lower(), "?") for name in names]
    return "".join(letters) if "?" not in letters or set("zyx") <= set(letters) else default_axes(array.ndim)


def _level_source(
    group: Any, multiscale: Multiscale, level: int, voxel_size: Sequence[float] | None
) -> Source:
    where = multiscale.where
    if not 0 <= level < len(multiscale.paths):
        raise InputError(f"{where}: no level {level}; it has {len(multiscale.paths)} (0 is the finest).")
    try:
        array = group[multiscale.paths[level]]
        shape = tuple(array.shape)
    except ConnectomicsError:
        raise
    except Exception as error:
        raise FormatError(
            f"{where}: level {level} ('{multiscale.paths[level]}') is listed but cannot be opened ({error})."
        ) from error
    if len(shape) != len(multiscale.axes):
        raise FormatError(f"{where}: axes '{multiscale.axes}' do not fit an array of shape {shape}.")
    own = group.attrs.get(OWN_KEY)
    return _source(
        array,
        where,
        multiscale.axes,
        multiscale.geometry(level, voxel_size),
        format=f"OME-Zarr {VERSIONS[array.metadata.zarr_format]}",
        levels=len(multiscale.paths),
        attributes=dict(own) if isinstance(own, Mapping) else {},
        labels=multiscale.labels,
    )


def _source(array: Any, name: str, axes: str, geometry: Any, **known: Any) -> Source:
    known.setdefault("format", f"zarr v{array.metadata.zarr_format}")
    if min(getattr(array, "chunks", None) or (1,)) < 1:
        raise FormatError(f"{name}: its metadata states chunks of {array.chunks} voxels. Correct it.")
    return Source(
        array=array,
        axes=axes,
        name=name,
        voxel_size=geometry[0] if geometry else None,
        offset=geometry[1] if geometry else None,
        chunks=getattr(array, "chunks", None),
        shards=getattr(array, "shards", None),
        **known,
    )


def _multiscale(group: Any, where: str) -> Multiscale | None:
    return parse_multiscale(group.attrs.asdict(), where)


def _is_array(node: Any) -> bool:
    import zarr

    return isinstance(node, zarr.Array)
