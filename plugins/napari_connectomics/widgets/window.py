"""The window of `connectomics view`."""

from collections.abc import Sequence
from pathlib import Path

import napari
from napari.layers import Layer as NapariLayer
from napari.viewer import Viewer

from connectomics.pipeline.layer import Layer
from napari_connectomics.layer_data import layer_data
from napari_connectomics.widgets.annotate_dock import AnnotateDock
from napari_connectomics.widgets.review_dock import ReviewDock
from napari_connectomics.widgets.run_dock import RunDock
from napari_connectomics.widgets.score_dock import ScoreDock

Dock = RunDock | ReviewDock | ScoreDock | AnnotateDock

DOCKS: dict[str, type[Dock]] = {
    "Run": RunDock,
    "Review": ReviewDock,
    "Score": ScoreDock,
    "Annotate": AnnotateDock,
}


def open_window(
    layers: Sequence[Layer], annotate: Path | None = None, *, wait: bool = True, docks: bool = True
) -> Viewer:
    """Show layers, with the docks as tabs beside them.

    Parameters
    ----------
    layers
        The lowest first.
    annotate
        A folder of crops, for the dock Annotate.
    wait
        Return when the window is closed.
    docks
        Add the docks.
    """
    viewer = napari.Viewer(title="connectomics")
    for layer in layers:
        viewer.add_layer(NapariLayer.create(*layer_data(layer)))
    if docks:
        add_docks(viewer, annotate)
    if wait:
        napari.run()
    return viewer


def add_docks(viewer: Viewer, annotate: Path | None = None) -> dict[str, Dock]:
    """The docks of the plugin, as tabs on the right; in front the one that has something to do."""
    made = {name: kind(viewer) for name, kind in DOCKS.items()}
    places = {
        name: viewer.window.add_dock_widget(dock, name=name, area="right", tabify=True)
        for name, dock in made.items()
    }
    review, crops = made["Review"], made["Annotate"]
    front = "Review" if isinstance(review, ReviewDock) and review.output.count() else "Run"
    if annotate is not None and isinstance(crops, AnnotateDock):
        crops.open_folder(annotate)
        front = "Annotate"
    places[front].raise_()
    return made
