"""The window of `connectomics view`."""

from collections.abc import Sequence

import napari
from napari.layers import Layer as NapariLayer
from napari.viewer import Viewer

from connectomics.pipeline.layer import Layer
from napari_connectomics.layer_data import layer_data
from napari_connectomics.widgets.review_dock import ReviewDock
from napari_connectomics.widgets.run_dock import RunDock
from napari_connectomics.widgets.score_dock import ScoreDock

DOCKS = {"Run": RunDock, "Review": ReviewDock, "Score": ScoreDock}


def open_window(layers: Sequence[Layer], *, wait: bool = True, docks: bool = True) -> Viewer:
    """Show layers, with the docks as tabs beside them.

    Parameters
    ----------
    layers
        The lowest first.
    wait
        Return when the window is closed.
    docks
        Add the docks.
    """
    viewer = napari.Viewer(title="connectomics")
    for layer in layers:
        viewer.add_layer(NapariLayer.create(*layer_data(layer)))
    if docks:
        add_docks(viewer)
    if wait:
        napari.run()
    return viewer


def add_docks(viewer: Viewer) -> dict[str, RunDock | ReviewDock | ScoreDock]:
    """The docks of the plugin, as tabs on the right; the review in front, if there is something to review."""
    made = {name: kind(viewer) for name, kind in DOCKS.items()}
    places = [
        viewer.window.add_dock_widget(dock, name=name, area="right", tabify=True)
        for name, dock in made.items()
    ]
    front = places[1] if made["Review"].output.count() else places[0]
    front.raise_()
    return made
