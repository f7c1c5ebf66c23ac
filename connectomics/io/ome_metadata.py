"""OME-Zarr multiscale metadata (0.4 and 0.5): what levels there are and where in space they lie.

OME-Zarr places voxel centres; everywhere else an offset is the low corner of voxel 0. The half voxel
between the two is added in `multiscale_attributes` and taken off in `Multiscale.geometry`, nowhere else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from connectomics.errors import FormatError, GeometryError, InputError
from connectomics.io.units import is_length, nanometres
from connectomics.roi import Triple, triple

Kind = Literal["image", "label"]
VERSIONS = {2: "0.4", 3: "0.5"}
"""OME-Zarr version that goes with each zarr format."""

OWN_KEY = "connectomics"
"""Where our own attributes (such as affinity offsets) live."""


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid: its array's path in the group, nm per voxel, low corner in nm (zyx)."""

    path: str
    voxel_size: Triple
    offset: Triple


@dataclass(frozen=True)
class Multiscale:
    """The first multiscale image of a group, as its file states it.

    Attributes
    ----------
    axes : str
        One letter an axis, such as ``"czyx"``.
    units : tuple
        Unit of each axis, None where not stated.
    paths : tuple of str
        Array of each level, finest first.
    scales, translations : tuple
        For each level, one number an axis, in those units.
    where : str
        The file, for messages.
    labels : bool
        True where the file says that it is a label image.
    """

    axes: str
    units: tuple[str | None, ...]
    paths: tuple[str, ...]
    scales: tuple[tuple[float, ...], ...]
    translations: tuple[tuple[float, ...], ...]
    where: str
    labels: bool = False

    def geometry(self, level: int, voxel_size: Sequence[float] | None = None) -> tuple[Triple, Triple] | None:
        """Voxel size and offset (low corner) of a level, nm, zyx.

        `voxel_size` (nm, of level 0) counts only where the file states no unit, or one that is no length
        known here; None comes back where neither is stated.
        """
        space = [self.axes.index(axis) for axis in "zyx"]
        scale = [self.scales[level][i] for i in space]
        first = [self.scales[0][i] for i in space]
        units = [self.units[i] for i in space]
        if voxel_size is not None and not all(is_length(unit) for unit in units):
            factor = [v / s for v, s in zip(triple(voxel_size, "voxel size"), first, strict=True)]
        elif all(units):
            factor = [nanometres(str(unit), self.where) for unit in units]
        else:
            return None
        size = [_clean(s * f) for s, f in zip(scale, factor, strict=True)]
        centre = [self.translations[level][i] * f for i, f in zip(space, factor, strict=True)]
        corner = [round(c - v / 2, 6) for c, v in zip(centre, size, strict=True)]
        return triple(size), triple(corner)


def multiscale_attributes(
    levels: Sequence[Level], *, channels: bool, kind: Kind, name: str, zarr_format: int
) -> dict[str, Any]:
    """Attributes of an OME-Zarr image or label group, validated against ome-zarr-models.

    Parameters
    ----------
    levels
        Finest first.
    channels
        True where a channel axis comes first.
    kind
        ``"label"`` adds the image-label block.
    name
        Written as the name of the multiscale.
    zarr_format
        2 writes OME-Zarr 0.4, 3 writes 0.5.
    """
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] if channels else []
    axes += [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    multiscale: dict[str, Any] = {
        "name": name,
        "axes": axes,
        "datasets": [_dataset(level, channels) for level in levels],
        "type": "mode" if kind == "label" else "mean",
    }
    attributes: dict[str, Any] = {"multiscales": [multiscale]}
    if kind == "label":
        attributes["image-label"] = {}
    return _versioned(attributes, zarr_format)


def label_list_attributes(names: Sequence[str], zarr_format: int) -> dict[str, Any]:
    """Attributes of the ``labels`` group that lists the label images in it."""
    return _versioned({"labels": list(names)}, zarr_format)


def label_list(attributes: Mapping[str, Any]) -> list[str]:
    """Read back what `label_list_attributes` wrote; empty where there is none."""
    return [str(name) for name in ome_block(attributes).get("labels", [])]


def ome_block(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a group's attributes that OME-Zarr defines, 0.4 or 0.5."""
    block = attributes.get("ome", attributes)
    return block if isinstance(block, Mapping) else {}


def parse_multiscale(attributes: Mapping[str, Any], where: str) -> Multiscale | None:
    """Read the first multiscale of a group's attributes; None where there is none.

    Files of others are read as the specification says, without being refused for what does not matter here.

    Raises
    ------
    FormatError
        The metadata is there but makes no sense.
    """
    block = ome_block(attributes)
    multiscales = block.get("multiscales")
    if not multiscales:
        return None
    try:
        first = multiscales[0]
        names, units = _axes(first)
        datasets = first["datasets"]
        common = first.get("coordinateTransformations") or []
        placed = [
            _scale_and_translation([*d.get("coordinateTransformations", []), *common], len(names))
            for d in datasets
        ]
        paths = tuple(str(d["path"]) for d in datasets)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise FormatError(
            f"{where}: its OME-Zarr metadata cannot be read ({type(error).__name__}: {error}). "
            "Correct the group's attributes, or open one array of it with --voxel-size Z Y X."
        ) from None
    if not paths or sorted(names) != sorted(set(names)) or not set("zyx") <= set(names):
        raise GeometryError(f"{where}: expected axes z, y and x, got '{names}' with {len(paths)} levels.")
    scales, translations = (tuple(column) for column in zip(*placed, strict=True))
    return Multiscale(names, tuple(units), paths, scales, translations, where, "image-label" in block)


def _dataset(level: Level, channels: bool) -> dict[str, Any]:
    lead = [1.0] if channels else []
    centre = [o + v / 2 for o, v in zip(level.offset, level.voxel_size, strict=True)]
    transformations = [
        {"type": "scale", "scale": lead + [float(v) for v in level.voxel_size]},
        {"type": "translation", "translation": [0.0] * len(lead) + centre},
    ]
    return {"path": level.path, "coordinateTransformations": transformations}


def _versioned(attributes: dict[str, Any], zarr_format: int) -> dict[str, Any]:
    if zarr_format not in VERSIONS:
        raise InputError(f"zarr format: expected 2 (OME-Zarr 0.4) or 3 (OME-Zarr 0.5), got {zarr_format}.")
    version = VERSIONS[zarr_format]
    if zarr_format == 3:
        result: dict[str, Any] = {"ome": {"version": version, **attributes}}
    else:
        result = dict(attributes)
        for multiscale in result.get("multiscales", []):
            multiscale["version"] = version
        if "image-label" in result:
            result["image-label"] = {"version": version}
    _validate(result, zarr_format)
    return result


def _validate(attributes: Mapping[str, Any], zarr_format: int) -> None:
    from ome_zarr_models import v04, v05
    from ome_zarr_models.v04.image import ImageAttrs as ImageAttrs04
    from ome_zarr_models.v04.image_label import ImageLabelAttrs as ImageLabelAttrs04
    from ome_zarr_models.v05.image import ImageAttrs as ImageAttrs05
    from ome_zarr_models.v05.image_label import ImageLabelAttrs as ImageLabelAttrs05

    block = ome_block(attributes)
    models: Sequence[Any] = (
        (ImageAttrs05, ImageLabelAttrs05, v05.labels.LabelsAttrs)
        if zarr_format == 3
        else (ImageAttrs04, ImageLabelAttrs04, v04.labels.LabelsAttrs)
    )
    image, image_label, labels = models
    if "multiscales" in block:
        image.model_validate(block)
    if "image-label" in block:
        image_label.model_validate(block)
    if "labels" in block:
        labels.model_validate(block)


def _axes(multiscale: Mapping[str, Any]) -> tuple[str, list[str | None]]:
    axes = multiscale.get("axes") or list("tczyx")
    names, units = [], []
    for axis in axes:
        named = axis if isinstance(axis, Mapping) else {"name": axis}
        names.append(str(named["name"]).lower())
        units.append(named.get("unit") or None)
    if any(len(name) != 1 for name in names):
        raise ValueError(f"axes {names}")
    return "".join(names), units


def _scale_and_translation(
    transformations: Sequence[Mapping[str, Any]], count: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fold a list of scales and translations, applied one after the other, into one of each."""
    scale, translation = [1.0] * count, [0.0] * count
    for one in transformations:
        if one["type"] == "scale":
            factor = [float(v) for v in one["scale"]]
            scale = [a * b for a, b in zip(scale, factor, strict=True)]
            translation = [a * b for a, b in zip(translation, factor, strict=True)]
        elif one["type"] == "translation":
            shift = [float(v) for v in one["translation"]]
            translation = [a + b for a, b in zip(translation, shift, strict=True)]
        elif one["type"] != "identity":
            raise ValueError(f"transformation of type {one['type']!r}")
    if not all(math.isfinite(v) and v > 0 for v in scale):
        raise ValueError(f"scale {scale} is not positive")
    return tuple(scale), tuple(translation)


def _clean(value: float) -> float:
    """Drop the last digits of a product, so that 0.033 micrometer is 33 nm exactly."""
    return float(f"{value:.12g}")
