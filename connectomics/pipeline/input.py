"""What a network command is given: volume, region and model, checked before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from connectomics import __version__
from connectomics.cascade.settings import Cascade
from connectomics.errors import InputError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.checks import check_image
from connectomics.io.locate import lies_in
from connectomics.io.opening import open_volume
from connectomics.io.place import Place, as_place
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
    name: str = ""

    def check_apart(self, out: str | Place, products: Sequence[str]) -> None:
        """Refuse an output inside the input image, or of which the input is (in) a product.

        The image itself may be the output: OME-Zarr keeps labels within the image that they are of.

        Raises
        ------
        InputError
            What was asked for would write into the input, or remove it first.
        """
        inside = lies_in(str(out), self.name) and not lies_in(self.name, str(out))
        if inside or any(lies_in(self.name, str(as_place(out) / product)) for product in products):
            raise InputError(f"{out}: would write over the input {self.name}. Choose another output.")

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
        {"detectors": [find_model(name, "detector").sha256 for name in names]} if names else {}
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
    return NetworkInput(region, model, rescale, location, settings.voxel_size, whole.name)
