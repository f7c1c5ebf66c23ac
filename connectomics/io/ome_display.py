"""How an OME-Zarr asks to be shown: labels or not, and the names, colours and limits of its channels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connectomics.errors import ConnectomicsError
from connectomics.io.locate import locate
from connectomics.io.ome_metadata import label_list, ome_block, parse_multiscale
from connectomics.io.place import Place, as_place

Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, 0..1."""


@dataclass(frozen=True)
class Channel:
    """One channel, as far as the file says: name, colour ``#rrggbb``, darkest and brightest value."""

    name: str | None = None
    colour: str | None = None
    limits: tuple[float, float] | None = None
    visible: bool = True


@dataclass(frozen=True)
class Display:
    """What a group's attributes say of showing it; empty where they say nothing.

    Attributes
    ----------
    multiscale : bool
        The group is an image of one or more levels.
    labels : bool
        The image is a label image.
    name : str
        Of the image.
    channels : tuple of Channel
        In order.
    colours : mapping
        Of single labels.
    label_names : tuple of str
        The label images in the group.
    """

    multiscale: bool = False
    labels: bool = False
    name: str = ""
    channels: tuple[Channel, ...] = ()
    colours: Mapping[int, Colour] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()


def read_display(location: str | Place) -> Display:
    """Read what a zarr group says of showing it; a volume of another format says nothing.

    Metadata of others that makes no sense is passed over: it decides on colours alone.
    """
    found = locate(location)
    if found.format != "zarr":
        return Display()
    import zarr

    from connectomics.io.zarr_store import zarr_at

    place = as_place(found.container)
    try:
        group = zarr.open_group(zarr_at(place / found.inner if found.inner else place), mode="r")
    except ConnectomicsError:
        raise
    except Exception:  # an array, or damaged: who reads it says so
        return Display()
    attributes = group.attrs.asdict()
    block = ome_block(attributes)
    multiscale = parse_multiscale(attributes, found.name) is not None
    names = _label_names(group) if multiscale else ()
    first = block["multiscales"][0] if multiscale else {}
    return Display(
        multiscale=multiscale,
        labels="image-label" in block,
        name=str(first.get("name") or ""),
        channels=_channels(block.get("omero")),
        colours=_label_colours(block.get("image-label")),
        label_names=names,
    )


def _label_names(group: Any) -> tuple[str, ...]:
    try:
        return tuple(label_list(group["labels"].attrs.asdict()))
    except Exception:  # none, or on a server that lists nothing
        return ()


def _channels(omero: Any) -> tuple[Channel, ...]:
    if not isinstance(omero, Mapping) or not isinstance(omero.get("channels"), list):
        return ()
    return tuple(_channel(one) for one in omero["channels"])


def _channel(described: Any) -> Channel:
    if not isinstance(described, Mapping):
        return Channel()
    colour = str(described.get("color") or "").lstrip("#")
    window = described.get("window")
    limits = None
    if isinstance(window, Mapping):
        try:
            limits = (float(window["start"]), float(window["end"]))
        except (KeyError, TypeError, ValueError):
            limits = None
    return Channel(
        name=str(described["label"]) if described.get("label") else None,
        colour=f"#{colour[:6]}" if _is_hexadecimal(colour[:6]) else None,
        limits=limits if limits and limits[1] > limits[0] else None,
        visible=bool(described.get("active", True)),
    )


def _is_hexadecimal(text: str) -> bool:
    return len(text) == 6 and set(text.lower()) <= set("0123456789abcdef")


def _label_colours(described: Any) -> dict[int, Colour]:
    colours: dict[int, Colour] = {}
    listed = described.get("colors") if isinstance(described, Mapping) else None
    for one in listed if isinstance(listed, list) else []:
        try:
            red, green, blue, opacity = (float(v) / 255 for v in one["rgba"])
            colours[int(one["label-value"])] = (red, green, blue, opacity)
        except (KeyError, TypeError, ValueError):
            continue
    return colours
