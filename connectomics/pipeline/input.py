"""What a network command is given: volume, region and model, checked before anything is written."""

from dataclasses import dataclass
from typing import Any

from connectomics import __version__
from connectomics.cascade.settings import Cascade
from connectomics.inference.settings import InferenceSettings
from connectomics.io.checks import check_image
from connectomics.io.opening import open_volume
from connectomics.networks.models import Model, check_fits, find_model
from connectomics.pipeline.convert import describe_input
from connectomics.pipeline.region import Region, select_region
from connectomics.pipeline.settings import RegionSettings
from connectomics.roi import Triple


@dataclass(frozen=True)
class NetworkInput:
    """A region of a volume and the model to run on it; and where the volume came from."""

    region: Region
    model: Model
    rescaled: bool
    location: str = ""
    voxel_size: Triple | None = None

    def identity(
        self, command: str, inference: InferenceSettings, cascade: Cascade | None = None
    ) -> dict[str, Any]:
        """What decides whether two runs are the same run: device, engine, threads and memory do not."""
        return _identity_of(cascade) | {
            "command": command,
            "version": __version__,
            "input": describe_input(self.region.volume),
            "region": [[s.start, s.stop] for s in self.region.box],
            "model": {"name": self.model.contract.name, "sha256": self.model.sha256},
            "rescale": self.rescaled,
            "inference": inference.model_dump(include={"tile", "margin", "flips", "precision"}),
        }


def _identity_of(cascade: Cascade | None) -> dict[str, Any]:
    """What a cascade is: its file, and the weights of the networks that it names."""
    if cascade is None:
        return {}
    names = [one.detector.model for one in cascade.levels if one.detector.model is not None]
    return {"cascade": cascade.model_dump(mode="json")} | (
        {"detectors": [find_model(name).sha256 for name in names]} if names else {}
    )


def open_input(location: str, model_name: str, settings: RegionSettings, rescale: bool) -> NetworkInput:
    """Open the volume and the model and check that they fit each other.

    Raises
    ------
    InputError
        Anything that would make the run fail later: no such volume or model, constant or NaN data, a
        region outside, a voxel size that does not fit.
    """
    model = find_model(model_name)
    volume = whole = open_volume(location, settings.voxel_size)
    if rescale:
        from connectomics.inference.rescale import read_rescaled

        volume = read_rescaled(volume, model.contract.voxel_size)
    else:
        check_fits(model, volume.voxel_size)
    region = select_region(volume, settings, whole.roi)
    check_image(volume, region.grown(model.contract.margin))
    return NetworkInput(region, model, rescale, location, settings.voxel_size)
