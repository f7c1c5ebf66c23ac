"""Sample data: a corner of the demo's phantom, with its truth."""

from pathlib import Path

from napari_connectomics.layer_data import LayerData, layer_data

SHAPE = (128, 128, 128)
"""An eighth of what the demo makes: some seconds."""


def phantom() -> list[LayerData]:
    """X-ray, truth and skeletons of the demo's phantom, made when first asked for."""
    from connectomics.pipeline.layers import open_layers

    place = phantom_at(sample_folder() / "phantom.zarr", SHAPE)
    return [layer_data(layer) for layer in open_layers(place)]


def sample_folder() -> Path:
    """Where what was made is kept: in the user's folder for such things."""
    from platformdirs import user_cache_path

    return user_cache_path("xray-connectomics") / "samples"


def phantom_at(out: Path, shape: tuple[int, int, int]) -> Path:
    """Write the phantom unless it is there."""
    from connectomics.blockwise.progress import Silent
    from connectomics.phantom.settings import PhantomSettings
    from connectomics.pipeline.demo import DEFAULT_SEED
    from connectomics.pipeline.phantom import write_phantom
    from connectomics.pipeline.settings import RunSettings

    settings = PhantomSettings(seed=DEFAULT_SEED)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_phantom(out, shape, settings, ["xray", "labels/truth"], RunSettings(), Silent())
    return out
