"""The napari viewer as the docks see it: layers by place, the camera, clicks as world positions."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Labels, Points
from napari.layers import Layer as NapariLayer
from napari.viewer import Viewer
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.pipeline.layer import UNIT_GRID, Layer
from connectomics.roi import Roi, Triple, triple
from napari_connectomics.layer_data import (
    KEY,
    POINT_SIZE,
    POINT_STYLE,
    UNITS,
    in_voxels,
    layer_data,
    on_grid,
)
from napari_connectomics.regions import region_in_view

Click = Callable[[Triple, bool], None]
"""Called with a world position (nm, zyx) and whether it was a click with Shift."""

CLICK_TRAVEL = 4.0
"""Canvas pixels that a click may move by; more is a drag."""


class Canvas:
    """What the docks need of a viewer, in the words of the package.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer

    # --- layers --------------------------------------------------------------------------------------------

    def add(self, layer: Layer) -> NapariLayer:
        """Add a layer; one of the same place that is there already is replaced where it stands."""
        data, said, kind = layer_data(layer)
        made = NapariLayer.create(data, said, kind)
        there = self.find(layer.location, layer.name)
        if there is None:
            self.viewer.add_layer(made)
            return made
        made.visible, made.opacity, made.name = there.visible, there.opacity, there.name
        index = self.viewer.layers.index(there)
        self.viewer.layers.remove(there)
        self.viewer.layers.insert(index, made)
        return made

    def find(self, location: str, name: str | None = None) -> NapariLayer | None:
        """The layer that shows a place, or None."""
        for one in self.viewer.layers:
            known = self.known(one)
            if known is not None and known.location == location and (name is None or known.name == name):
                return one
        return None

    @staticmethod
    def known(layer: NapariLayer | None) -> Layer | None:
        """What the package knows of a napari layer; None of one that it did not open."""
        about = layer.metadata.get(KEY) if layer is not None else None
        found = about.get("layer") if isinstance(about, dict) else None
        return found if isinstance(found, Layer) else None

    def opened(self, *kinds: str) -> list[Layer]:
        """The layers that the package opened, of some kinds, topmost first."""
        found = [self.known(one) for one in reversed(self.viewer.layers)]
        return [one for one in found if one is not None and one.kind in kinds]

    def remove(self, *layers: NapariLayer | None) -> None:
        """Take layers away, those that are there."""
        for layer in layers:
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def labels(self, name: str, data: NDArray[Any], voxel_size: Triple, offset: Triple) -> Labels:
        """A label layer of an array, made or changed."""
        there = self._named(name, Labels)
        if there is None:
            return self.new_labels(name, data, voxel_size, offset)
        centre = [o + v / 2 for o, v in zip(offset, voxel_size, strict=True)]
        there.data, there.scale, there.translate = data, list(voxel_size), centre
        return there

    def new_labels(self, name: str, data: NDArray[Any], voxel_size: Triple, offset: Triple) -> Labels:
        """A label layer of an array, whatever other layers are called."""
        centre = [o + v / 2 for o, v in zip(offset, voxel_size, strict=True)]
        said = {"name": name, "scale": list(voxel_size), "translate": centre, "units": UNITS}
        made: Labels = self._topmost(Labels(data, **said, metadata={KEY: {"made": name}}))
        return made

    def points(
        self,
        name: str,
        places: NDArray[np.float64],
        colours: Sequence[str],
        features: Mapping[str, Any] | None = None,
        size: float = POINT_SIZE,
    ) -> Points:
        """A layer of world positions (n, 3), nm, made anew: the topmost; `size` is in voxels."""
        there = self._named(name, Points)
        if there is not None:
            self.viewer.layers.remove(there)
        grid = self.grid
        said: dict[str, Any] = {"name": name, "size": size, "features": dict(features or {})}
        said |= on_grid(grid) | POINT_STYLE | {"face_color": list(colours) or "white"}
        said["metadata"] = {KEY: {"made": name}}
        data = in_voxels(np.asarray(places, np.float64).reshape(-1, 3), grid)
        return self._topmost(Points(data, ndim=3, **said))

    @property
    def grid(self) -> tuple[Triple, Triple]:
        """Voxel size and offset, nm, zyx, of the finest volume that is shown."""
        volumes = [one.volumes[0] for one in self.opened("image", "labels", "rgb")]
        if not volumes:
            return UNIT_GRID
        finest = min(volumes, key=lambda volume: float(np.prod(volume.voxel_size)))
        return finest.voxel_size, finest.offset

    def _named(self, name: str, kind: type) -> Any:
        return next(
            (one for one in self.viewer.layers if self.made(one) == name and isinstance(one, kind)), None
        )

    @staticmethod
    def made(layer: NapariLayer) -> str | None:
        """What a layer that a dock made was called; None of any other, whatever its name."""
        about = layer.metadata.get(KEY)
        return about.get("made") if isinstance(about, dict) else None

    def _topmost(self, layer: Any) -> Any:
        """Add a layer and leave the active one active: its keys and tools stay what they were."""
        active = self.viewer.layers.selection.active
        self.viewer.add_layer(layer)
        if active is not None:
            self.viewer.layers.selection.active = active
        return layer

    # --- looking -------------------------------------------------------------------------------------------

    def look_at(self, place: Sequence[float], size: Sequence[float]) -> None:
        """Move the section and the camera to a point so that a box of that size (nm, zyx) fills the view."""
        dims, camera = self.viewer.dims, self.viewer.camera
        first = dims.ndim - 3
        if first < 0:
            raise InputError("nothing three-dimensional is shown.")
        dims.set_point(list(range(first, dims.ndim)), [float(p) for p in place])
        shown = [axis - first for axis in dims.displayed if axis >= first]
        camera.center = tuple(float(place[axis]) for axis in shown)
        pixels = min(self.canvas_size)
        camera.zoom = 0.9 * pixels / max(float(size[axis]) for axis in shown)

    @property
    def canvas_size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = getattr(self.viewer, "_canvas_size", (600, 800))
        return max(int(height), 1), max(int(width), 1)

    def region_in_view(self, layer: Layer, sections: float) -> Roi:
        """The box of a volume that is in view; see `napari_connectomics.regions.region_in_view`."""
        dims, camera = self.viewer.dims, self.viewer.camera
        displayed = [axis - (dims.ndim - 3) for axis in dims.displayed]
        plane = np.asarray(dims.point, float)[-3:]
        low, high = plane.copy(), plane.copy()
        if dims.ndisplay == 3:
            low, high = np.array(layer.roi.offset), np.array(layer.roi.end)
        else:
            centre = np.asarray(camera.center, float)[-2:]
            half = np.asarray(self.canvas_size, float) / camera.zoom / 2
            low[displayed], high[displayed] = centre - half, centre + half
        return region_in_view(layer.volumes[0], low, high, displayed, plane, sections)

    # --- clicks --------------------------------------------------------------------------------------------

    def on_click(self, wanted: Callable[[], bool], click: Click) -> Callable[[], None]:
        """Call `click` for every click (no drag) while `wanted()`; returns what ends it."""

        def pressed(_: Viewer, event: Any) -> Generator[None, None, None]:
            start = np.asarray(event.pos, float)
            if not wanted() or event.button != 1 or self._painting():
                return
            yield
            moved = 0.0
            while event.type == "mouse_move":
                moved = max(moved, float(np.abs(np.asarray(event.pos) - start).max()))
                yield
            if moved <= CLICK_TRAVEL:
                place = self.place_of(event)
                if place is not None:
                    click(place, "Shift" in event.modifiers)

        self.viewer.mouse_drag_callbacks.append(pressed)
        return lambda: self.viewer.mouse_drag_callbacks.remove(pressed)

    def place_of(self, event: Any) -> Triple | None:
        """World position of a mouse event; in three dimensions that of the first label under it."""
        if self.viewer.dims.ndisplay == 2:
            return triple(np.asarray(event.position, float)[-3:].tolist())
        for layer in reversed(self.viewer.layers):
            if isinstance(layer, Labels) and layer.visible and not layer.multiscale:
                found = self._first_hit(layer, event)
                if found is not None:
                    return found
        return None

    @staticmethod
    def _first_hit(layer: Labels, event: Any) -> Triple | None:
        direction, displayed = event.view_direction, list(event.dims_displayed)
        start, end = layer.get_ray_intersections(event.position, direction, displayed)
        if start is None or end is None:
            return None
        steps = int(np.abs(end - start).max() * 2) + 1
        line = np.linspace(start, end, steps)
        voxels = np.clip(np.round(line).astype(int), 0, np.array(layer.data.shape) - 1)
        hits = np.flatnonzero(np.asarray(layer.data)[tuple(voxels.T)])
        if not len(hits):
            return None
        return triple(np.asarray(layer.data_to_world(voxels[hits[0]]), float)[-3:].tolist())

    def _painting(self) -> bool:
        """Whether a tool of the active layer takes the clicks."""
        active = self.viewer.layers.selection.active
        return active is not None and str(getattr(active, "mode", "pan_zoom")) != "pan_zoom"
