"""`connectomics view`: open volumes and outputs in napari."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

from connectomics.cli.options import REPORT, Report, deliver
from connectomics.cli.session import session
from connectomics.errors import InputError

WINDOW = "napari_connectomics.widgets.window"
"""The plugin's window; the package itself imports no GUI."""

BINDINGS = ("PySide6", "PyQt6", "PySide2", "PyQt5")
"""Qt for Python, whichever."""


def view(
    *volumes: str, voxel_size: tuple[float, float, float] | None = None, report: Report = REPORT
) -> None:
    """Open volumes, outputs, skeletons and errors in napari, with the docks Run, Review, Score and Annotate.

    What `segment`, `predict` or `translate` wrote opens as one set of layers, with the volume that it was
    made from. A folder of `adapt select` opens as a list of crops to annotate. Needs the extra `napari`.

    Parameters
    ----------
    volumes
        Paths or URLs of OME-Zarr, HDF5, TIFF, N5 or precomputed volumes, outputs, skeletons, the CSV
        file of score --errors, or one folder of crops to annotate.
    voxel_size
        Voxel size (nm, z y x) for volumes that carry none.
    """
    if not volumes:
        raise InputError("view: name a volume to open, such as out.zarr.")
    _check_there_is_a_viewer()
    from connectomics.pipeline.layer import on_one_grid
    from connectomics.pipeline.layers import open_layers
    from connectomics.training.annotations import TODO, read_todo

    folders = [name for name in volumes if (Path(name).expanduser() / TODO).is_file()]
    if len(folders) > 1:
        raise InputError(f"view: {' and '.join(folders)}: one folder of crops is annotated at a time.")
    with session(report):
        if folders:
            read_todo(Path(folders[0]).expanduser())
        shown = [name for name in volumes if name not in folders]
        layers = on_one_grid([layer for volume in shown for layer in open_layers(volume, voxel_size)])
    _check_there_is_a_screen()
    if report.json_file is not None:
        quiet = report.model_copy(update={"quiet": True})
        deliver({"layers": [*(layer.location for layer in layers), *folders]}, quiet, "view")
    more = {"annotate": Path(folders[0])} if folders else {}
    importlib.import_module(WINDOW).open_window(layers, **more)


def _check_there_is_a_viewer() -> None:
    missing = [name for name in ("napari", "napari_connectomics") if not importlib.util.find_spec(name)]
    if not any(importlib.util.find_spec(name) for name in BINDINGS):
        missing.append(BINDINGS[0])
    if missing:
        raise InputError(
            f"view: needs napari, and {' and '.join(missing)} is not installed. Install the extra 'napari': "
            "pip install 'xray-connectomics[napari]'."
        )


def _check_there_is_a_screen() -> None:
    """Qt ends the process without a word that helps where there is no screen."""
    if sys.platform != "linux" or os.environ.get("QT_QPA_PLATFORM"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError(
            "view: there is no screen (neither DISPLAY nor WAYLAND_DISPLAY is set). Run it where there is "
            "one, or with 'ssh -X'."
        )
