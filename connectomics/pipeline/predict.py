"""Run a network over a volume and keep its channels, and how likely they are wrong."""

from typing import Any

from connectomics.blockwise.output import open_run
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.release import release_memory
from connectomics.cascade.settings import Cascade
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import open_array
from connectomics.io.place import Place
from connectomics.io.pyramid import build_pyramid
from connectomics.networks.contract import Contract
from connectomics.networks.models import check_task, find_model
from connectomics.pipeline.chunk_scoring import verdicts_of
from connectomics.pipeline.input import open_input
from connectomics.pipeline.network_stage import Product, Target, run_network
from connectomics.pipeline.resources import check_block, open_pool, pyramid_levels, share_inference
from connectomics.pipeline.selection import computed_tiles
from connectomics.pipeline.settings import RegionSettings, RunSettings
from connectomics.pipeline.uncertainty_stage import prediction_product, write_uncertainty
from connectomics.segmentation.calibration import Calibration

PRODUCT = "prediction"
VERDICTS = verdicts_of("predict")


def predict_volume(
    location: str,
    out: str | Place,
    model_name: str,
    *,
    region: RegionSettings,
    inference: InferenceSettings,
    rescale: bool,
    run_settings: RunSettings,
    progress: Progress,
    cascade: Cascade | None = None,
) -> dict[str, Any]:
    """Write ``OUT.zarr/prediction``, (c, z, y, x) uint8, and ``uncertainty``; resumes.

    Of a detector (of a cascade's coarse level) the prediction is its one channel, 255 times the probability
    that a voxel lies in an object; there is no ``uncertainty`` then. Beside a segmentation, which has an
    ``uncertainty`` of its own, it is called ``prediction_uncertainty``.

    See `connectomics.pipeline.segment.segment_volume` for the parameters.

    Returns
    -------
    dict
        Output, shape, affinity offsets, and whether the uncertainty is calibrated.
    """
    check_task(find_model(model_name), translates=False)
    given = open_input(location, model_name, region, rescale)
    check_block(run_settings, given.region.shape)
    offsets = given.model.contract.offsets
    calibration = Calibration.parse(given.model.contract.calibration)
    identity = given.identity("predict", inference, cascade)
    target = _target(given.model.contract, run_settings.gpu_per_worker)
    uncertainty = prediction_product(out)
    names = (PRODUCT, uncertainty) if offsets else (PRODUCT,)
    products = (PRODUCT, uncertainty, VERDICTS)
    given.check_apart(out, products)
    with open_run(out, "predict", identity, products, **run_settings.claim) as run:
        if run.complete:
            return dict(run.ledger.noted("complete")) | {"already_complete": True}
        with open_pool(run_settings) as pool:
            share = share_inference(inference, run_settings)
            chosen = run_network(run, given, share, target, pool, progress, cascade)
            release_memory()
            if offsets:
                write_uncertainty(run, uncertainty, PRODUCT, calibration, pool, progress, chosen)
        levels = pyramid_levels(given.region.shape)
        for name in names if levels > 1 else ():
            build_pyramid(run.path, name, levels)
        report = {
            "output": str(out),
            "shape": list(open_array(run.path, PRODUCT).array.shape),
            "offsets": offsets,
            "calibrated": {uncertainty: calibration.said["uncertainty"]} if offsets else {},
        }
        report |= computed_tiles(chosen)
        run.finish(report, names)
    return report


def _target(contract: Contract, on_gpus: bool) -> Target:
    if contract.offsets:
        return Target.affinities(PRODUCT, contract, len(contract.offsets), on_gpus)
    channels = contract.without_auxiliary().out_channels
    return Target(PRODUCT, (Product(PRODUCT, slice(0, channels)),), on_gpus)
