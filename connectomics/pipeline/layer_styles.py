"""How each part of an output is shown: its name, colours, order and whether it is seen at first."""

from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["image", "rgb", "labels", "points", "skeletons"]
Blending = Literal["translucent", "additive", "opaque"]


@dataclass(frozen=True)
class Style:
    """What a viewer needs to know of how to draw a layer.

    Attributes
    ----------
    kind : str
        "image" (one grey value a voxel), "rgb", "labels", "points" or "skeletons".
    colours : str
        Name of a colour map known to matplotlib and to viewers alike, or a colour ``#rrggbb``.
    limits : tuple of float, optional
        Darkest and brightest value; default: taken from the voxels.
    opacity : float
        0..1.
    blending : str
        How it lies over what is below.
    visible : bool
        Whether it is seen at first.
    """

    kind: Kind = "image"
    colours: str = "gray"
    limits: tuple[float, float] | None = None
    opacity: float = 1.0
    blending: Blending = "translucent"
    visible: bool = True


# dark where all is well: what is doubtful shines through whatever lies below
_DOUBT = Style(colours="inferno", limits=(0, 255), opacity=0.7, blending="additive", visible=False)

STYLES: dict[str, Style] = {
    "input": Style(),
    "xray": Style(),
    "em": Style(),
    "affinities": Style("rgb"),
    "prediction": Style("rgb"),
    "prediction_uncertainty": _DOUBT,
    "uncertainty": _DOUBT,
    "aleatoric": Style(colours="magma", opacity=0.7, blending="additive", visible=False),
    "epistemic": Style(colours="viridis", opacity=0.7, blending="additive", visible=False),
    "labels/truth": Style("labels", opacity=0.4, visible=False),
    "labels/fragments": Style("labels", opacity=0.4, visible=False),
    "labels/segmentation": Style("labels", opacity=0.5),
    "skeletons": Style("skeletons", visible=False),
    "errors": Style("points"),
}
"""The parts of our outputs, by their name in the group, from the lowest to the topmost."""

_ORDER = list(STYLES)


def style_of(role: str, kind: Kind) -> Style:
    """The style of a part of an output, or that of any volume of its kind."""
    known = STYLES.get(role)
    if known is not None and known.kind == kind:
        return known
    return Style(kind, opacity=0.5) if kind == "labels" else Style(kind)


def height(role: str) -> int:
    """Where a part lies in the pile; what is not known lies over the images and under the labels."""
    return _ORDER.index(role) if role in _ORDER else _ORDER.index("labels/truth")


def seen_at_first(roles: list[str], styles: list[Style]) -> list[Style]:
    """The styles of a pile, lowest first, with what would hide the rest, or be hidden by it, switched off."""
    images = [i for i, style in enumerate(styles) if style.kind == "image" and style.visible]
    labelled = any(style.kind == "labels" and style.visible for style in styles)
    hidden = set(images[:-1])
    if labelled:
        hidden |= {i for i, style in enumerate(styles) if style.kind == "rgb"}
    elif "labels/truth" in roles:
        return [
            replace(s, visible=s.visible or r == "labels/truth") for r, s in zip(roles, styles, strict=True)
        ]
    return [replace(s, visible=s.visible and i not in hidden) for i, s in enumerate(styles)]
