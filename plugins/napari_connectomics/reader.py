"""What napari calls to open a path: any volume that the package reads, and outputs as sets of layers."""

from collections.abc import Callable
from pathlib import Path

from connectomics.errors import ConnectomicsError
from connectomics.io.locate import file_format, folder_format
from connectomics.io.place import is_url
from connectomics.pipeline.error_list import is_error_list
from napari_connectomics.layer_data import LayerData, layer_data

Reader = Callable[[str | list[str]], list[LayerData]]


def get_reader(path: str | list[str]) -> Reader | None:
    """The function that reads a path, or None where it is nothing of ours."""
    paths = path if isinstance(path, list) else [path]
    return read if paths and all(_is_ours(one) for one in paths) else None


def read(path: str | list[str]) -> list[LayerData]:
    """The napari layers of one or more places; nothing but metadata is read.

    Raises
    ------
    ValueError
        What is wrong, in one line: napari shows it.
    """
    from connectomics.pipeline.layer import on_one_grid
    from connectomics.pipeline.layers import open_layers

    paths = path if isinstance(path, list) else [path]
    try:
        layers = on_one_grid([layer for one in paths for layer in open_layers(str(one))])
        return [layer_data(layer) for layer in layers]
    except ConnectomicsError as error:
        raise ValueError(str(error)) from None


def _is_ours(path: str) -> bool:
    if is_url(str(path)):
        return True
    try:
        place = Path(path)
        if place.is_dir():
            return folder_format(place) is not None or any(place.glob("*.swc"))
        if place.is_file():
            return file_format(place) is not None or is_error_list(place) or place.suffix == ".swc"
        return _inside_volume(place)
    except OSError:
        return False


def _inside_volume(place: Path) -> bool:
    """A data set inside a container, such as ``a.h5/volumes/raw``."""
    for parent in place.parents:
        if parent.is_dir():
            return folder_format(parent) is not None
        if parent.is_file():
            return file_format(parent) == "hdf5"
    return False
