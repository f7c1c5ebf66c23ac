"""What the viewer shows of a review: the place in view, its two sides, seeds, and the segmentation now."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from connectomics.pipeline.layer import Layer
from connectomics.proofreading.focus import FIRST, REST, SECOND, Focus
from connectomics.proofreading.split import Seed
from connectomics.roi import Triple
from napari_connectomics.widgets.canvas import Canvas

SIDES, SEEDS, PAINT = "in review", "seeds", "painted seeds"

SEED_SIZE = 3.0
"""Voxels."""

COLOURS = {FIRST: "#ffb000", SECOND: "#648fff", REST: "#9a9a9a"}
"""Of the two sides and the rest; told apart by the colour-blind too."""

SIDE_COLOURS: dict[int | None, Any] = {None: "transparent", 0: "transparent", **COLOURS}


class ReviewPicture:
    """Layers that a review adds to the viewer, and takes away again.

    Parameters
    ----------
    canvas
        The viewer.
    """

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.alone = True
        self.focus: Focus | None = None
        self._live: Any = None
        self._active: Any = None
        self._before: dict[Any, bool] = {}

    def begin(self, live: Layer) -> None:
        """Show the segmentation as the session has it, in the place of the one on disk."""
        self._live = self.canvas.add(live)
        self._before = {one: one.visible for one in self.canvas.viewer.layers}

    def end(self) -> None:
        """Take away what the review added, and show what was shown before."""
        viewer = self.canvas.viewer
        self.canvas.remove(*(one for one in viewer.layers if self.canvas.made(one) in (SIDES, SEEDS, PAINT)))
        for one, visible in self._before.items():
            if one in viewer.layers:
                one.visible = visible
        self._before, self._live, self.focus = {}, None, None

    def frame(self, focus: Focus) -> None:
        """Jump to a place so that its box fills the view."""
        self.show_sides(focus)
        self.canvas.look_at(focus.place, focus.size)
        self.arrange()

    def show_sides(self, focus: Focus) -> None:
        """Draw the two sides."""
        from napari.utils.colormaps import DirectLabelColormap

        new = not any(self.canvas.made(one) == SIDES for one in self.canvas.viewer.layers)
        self.focus = focus
        layer = self.canvas.labels(SIDES, focus.labels, focus.voxel_size, focus.offset)
        if new:
            layer.colormap = DirectLabelColormap(color_dict=SIDE_COLOURS)
            layer.editable = False

    def set_alone(self, alone: bool) -> None:
        """Whether the two sides are shown alone."""
        self.alone = alone
        self.arrange()

    def arrange(self, _: Any = None) -> None:
        """Show the two sides alone, or everything as it was before the review."""
        if self.focus is None:
            return
        solid = self.canvas.viewer.dims.ndisplay == 3
        for one, before in self._before.items():
            if one in self.canvas.viewer.layers:
                known = self.canvas.known(one)
                hidden = self.alone and (solid or (known is not None and known.kind == "labels"))
                one.visible = before and not hidden
        for one in self.canvas.viewer.layers:
            if self.canvas.made(one) == SIDES:
                one.visible, one.opacity = self.alone, 1.0 if solid else 0.6

    def turn(self, _: Any = None) -> None:
        """The view has changed between two and three dimensions: frame the place there too."""
        if self.focus is not None:
            self.frame(self.focus)

    def redraw(self) -> None:
        """Look the fragments in view up again."""
        if self._live is not None:
            self._live.refresh()

    def show_seeds(self, seeds: Sequence[Seed]) -> None:
        """Draw the points of a split, or the first click of a merge."""
        there = [one for one in self.canvas.viewer.layers if self.canvas.made(one) == SEEDS]
        if not seeds:
            self.canvas.remove(*there)
            return
        places = np.array([seed.place for seed in seeds])
        colours = [COLOURS.get(seed.group, "#ffffff") for seed in seeds]
        self.canvas.points(SEEDS, places, colours, size=SEED_SIZE)

    def begin_painting(self) -> None:
        """An empty label layer over the place in view, with napari's brush in hand."""
        if self.focus is None:
            return
        empty = np.zeros(self.focus.labels.shape, np.uint8)
        layer = self.canvas.labels(PAINT, empty, self.focus.voxel_size, self.focus.offset)
        self._active = self.canvas.viewer.layers.selection.active
        self.canvas.viewer.layers.selection.active = layer
        layer.selected_label, layer.brush_size, layer.mode = 1, 4, "paint"

    def painted(self) -> tuple[NDArray[Any], Triple, Triple] | None:
        """What was painted, its voxel size and offset; None where nothing is."""
        layer = next((one for one in self.canvas.viewer.layers if self.canvas.made(one) == PAINT), None)
        if not isinstance(layer, Labels) or self.focus is None or not np.any(layer.data):
            return None
        size = self.focus.voxel_size
        low = [t - v / 2 for t, v in zip(np.asarray(layer.translate), size, strict=True)]
        return np.asarray(layer.data), size, (float(low[0]), float(low[1]), float(low[2]))

    def end_painting(self) -> None:
        """Put the brush away, and take up what was in hand before."""
        there = [one for one in self.canvas.viewer.layers if self.canvas.made(one) == PAINT]
        self.canvas.remove(*there)
        if there and self._active is not None and self._active in self.canvas.viewer.layers:
            self.canvas.viewer.layers.selection.active = self._active
        self._active = None
