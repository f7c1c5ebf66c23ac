"""N5 and Neuroglancer precomputed volumes, read lazily through tensorstore."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import FormatError, InputError
from connectomics.io.locate import Location, missing_data_set
from connectomics.io.source import Source
from connectomics.io.units import is_length, nanometres

_SPECIFICATION = re.compile(r" \[(?:tensorstore_spec|source locations)=")
"""Where tensorstore's messages go on to all that it was asked."""


class TensorStoreArray:
    """A tensorstore read by slices counted from its first voxel; pickled by its specification."""

    def __init__(self, specification: Mapping[str, Any]) -> None:
        import tensorstore

        self._specification = dict(specification)
        self._store = tensorstore.open(self._specification, read=True, open=True).result()
        domain = self._store.domain
        self._origin = tuple(int(n) for n in domain.origin)
        self.shape: tuple[int, ...] = tuple(int(n) for n in domain.shape)
        self.dtype: np.dtype[Any] = np.dtype(self._store.dtype.numpy_dtype)
        self.chunks = tuple(int(n or 1) for n in self._store.chunk_layout.read_chunk.shape or ()) or None

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read by a tuple of slices."""
        moved = tuple(slice(s.start + o, s.stop + o) for s, o in zip(key, self._origin, strict=True))
        return np.asarray(self._store[moved].read().result())

    def __reduce__(self) -> tuple[type["TensorStoreArray"], tuple[dict[str, Any]]]:
        """Reopen from the same place."""
        return TensorStoreArray, (self._specification,)


def read_precomputed(location: Location, level: int, voxel_size: Sequence[float] | None) -> Source:
    """Open one scale of a precomputed volume, which is stored (x, y, z, c) and says where it lies in nm.

    Raises
    ------
    InputError
        There is no such level.
    FormatError
        The metadata is damaged.
    """
    info = _json(Path(location.container) / "info")
    scales = info.get("scales", [])
    if location.inner:
        raise missing_data_set(location.container, location.inner, ["the volume itself"])
    if not isinstance(scales, list) or not all(isinstance(scale, Mapping) for scale in scales):
        raise FormatError(f"{location.name}: 'scales' in its info is no list of scales. Make the info again.")
    if not 0 <= level < len(scales):
        raise InputError(f"{location.name}: no level {level}; it has {len(scales)} (0 is the finest).")
    resolution = _three(scales[level], "resolution", location.name)
    start = _three({"voxel_offset": (0, 0, 0), **scales[level]}, "voxel_offset", location.name)
    array = _open(
        {"driver": "neuroglancer_precomputed", "kvstore": _kvstore(location.container), "scale_index": level},
        location.name,
    )
    return Source(
        array=array,
        axes="xyzc",
        name=location.name,
        format="precomputed",
        voxel_size=resolution[::-1],
        offset=[s * r for s, r in zip(start, resolution, strict=True)][::-1],
        chunks=array.chunks,
        levels=len(scales),
        labels=info.get("type") == "segmentation",
    )


def read_n5(location: Location, level: int, voxel_size: Sequence[float] | None) -> Source:
    """Open an N5 data set, or level ``s<level>`` of a multiscale group; stored x first.

    The voxel size counts as stated in ``pixelResolution`` (BigDataViewer), ``transform`` (COSEM) or
    ``resolution`` with ``units``, where a unit of length is given.

    Raises
    ------
    InputError
        No such data set or level.
    FormatError
        The metadata is damaged.
    """
    root = Path(location.container)
    folder = root / location.inner if location.inner else root
    metadata = _n5_attributes(folder)
    group: Mapping[str, Any] = {}
    levels = len(list(folder.glob("s[0-9]*/attributes.json"))) or 1
    if "dimensions" not in metadata and (folder / f"s{level}" / "attributes.json").is_file():
        group, folder = metadata, folder / f"s{level}"
        metadata = _n5_attributes(folder)
    elif level != 0:
        raise InputError(f"{location.name}: no level {level}; it has {levels} (0 is the finest).")
    elif re.fullmatch(r"s[0-9]+", folder.name) and folder != root:  # a level, named: its group states for it
        group = _n5_attributes(folder.parent)
    if "dimensions" not in metadata:
        there = _list_n5(root)
        if location.inner or len(there) != 1:
            raise missing_data_set(location.container, location.inner, there)
        folder = root / there[0].split(" ")[0]
        metadata = _n5_attributes(folder)
    array = _open({"driver": "n5", "kvstore": _kvstore(str(folder))}, str(folder))
    try:
        size, offset = _n5_geometry(metadata, group)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{folder}: the voxel size in its attributes.json cannot be read ({type(error).__name__}: "
            f"{error}). Correct pixelResolution, resolution or transform there."
        ) from None
    return Source(
        array=array,
        axes="xyzct"[: len(array.shape)],
        name=str(folder),
        format="N5",
        voxel_size=size,
        offset=offset,
        chunks=array.chunks,
        levels=levels,
    )


def _n5_geometry(
    metadata: Mapping[str, Any], group: Mapping[str, Any]
) -> tuple[list[float] | None, list[float] | None]:
    """Voxel size and offset (nm, zyx) as far as a unit is stated."""
    transform = metadata.get("transform")
    transform = transform if isinstance(transform, Mapping) else {}
    units = transform.get("units")
    if units and all(is_length(unit) for unit in units):
        # stated z first, voxel centres
        factor = [nanometres(unit, "N5") for unit in units]
        size = [float(s) * f for s, f in zip(transform["scale"], factor, strict=True)][:3]
        shift = transform.get("translate") or [0.0] * 3
        centre = [float(t) * f for t, f in zip(shift, factor, strict=True)][:3]
        corner = [c - s / 2 for c, s in zip(centre, size, strict=True)]
        axes = [str(axis).lower() for axis in transform.get("axes") or "zyx"][:3]
        order = [axes.index(axis) for axis in "zyx"]  # z first unless it says otherwise
        return [size[i] for i in order], [corner[i] for i in order]
    for stated in (metadata, group):
        size_xyz = _n5_resolution(stated)
        if size_xyz is not None:
            # n5-viewer's levels repeat the finest pixelResolution; a `resolution` of a level's own is its own
            repeated = stated is group or "pixelResolution" in stated
            down = metadata.get("downsamplingFactors", (1, 1, 1)) if repeated else (1, 1, 1)
            return [s * float(d) for s, d in zip(size_xyz, down, strict=True)][::-1], None
    return None, None


def _n5_resolution(metadata: Mapping[str, Any]) -> list[float] | None:
    stated: Any = metadata.get("pixelResolution")
    if isinstance(stated, Mapping):
        values, units = stated.get("dimensions"), [stated.get("unit")] * 3
    else:
        values, units = metadata.get("resolution"), metadata.get("units") or []
    if not values or len(values) < 3 or len(units) < 3 or not all(is_length(u) for u in units[:3]):
        return None
    return [float(v) * nanometres(str(u), "N5") for v, u in zip(values[:3], units[:3], strict=True)]


def _three(stated: Mapping[str, Any], key: str, name: str) -> list[float]:
    try:
        values = [float(v) for v in stated[key]]
    except (KeyError, TypeError, ValueError):
        values = []
    if len(values) != 3:
        raise FormatError(
            f"{name}: its info should state '{key}' of every scale as three numbers (x y z), "
            f"got {stated.get(key)!r}. Correct it, or make the volume again."
        )
    return values


def _list_n5(root: Path) -> list[str]:
    found = []
    for path in sorted(root.rglob("attributes.json")):
        metadata = _n5_attributes(path.parent)
        if isinstance(metadata.get("dimensions"), list):
            shape = tuple(reversed(metadata["dimensions"]))
            found.append(f"{path.parent.relative_to(root).as_posix()} {shape}")
    return found


def _n5_attributes(folder: Path) -> Mapping[str, Any]:
    path = folder / "attributes.json"
    return _json(path) if path.is_file() else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: not readable as JSON ({error}). Copy or make the volume again.") from None
    if not isinstance(values, dict):
        raise FormatError(f"{path}: expected a JSON object, got {type(values).__name__}.")
    return values


def _kvstore(path: str) -> dict[str, str]:
    return {"driver": "file", "path": str(Path(path).resolve()) + "/"}


def _open(specification: Mapping[str, Any], name: str) -> TensorStoreArray:
    try:
        return TensorStoreArray(specification)
    except Exception as error:
        detail = _SPECIFICATION.split(str(error).splitlines()[0])[0]
        raise FormatError(f"{name}: cannot be opened ({detail}). Copy or make the volume again.") from error
