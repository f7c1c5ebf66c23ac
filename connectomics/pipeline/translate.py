"""Turn a volume into one of another modality, with maps of how sure each voxel is."""

import logging
from typing import Any

from connectomics.blockwise.output import open_run
from connectomics.blockwise.progress import Progress
from connectomics.cascade.settings import Cascade
from connectomics.inference.passes import channel_names, default_samples, plan_passes
from connectomics.inference.settings import InferenceSettings, SamplingSettings
from connectomics.inference.translation_engine import check_engine
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

log = logging.getLogger(__name__)

PRODUCTS = ("em", "aleatoric", "epistemic")
ALL_PRODUCTS = (*PRODUCTS, verdicts_of("translate"))
STEP = "translation"
SPREAD_DTYPE = "float16"
"""Standard deviations are stored in grey levels, to three digits."""


def translate_volume(
    location: str,
    out: str | Place,
    model_name: str,
    *,
    region: RegionSettings,
    inference: InferenceSettings,
    sampling: SamplingSettings,
    rescale: bool,
    run_settings: RunSettings,
    progress: Progress,
    cascade: Cascade | None = None,
) -> dict[str, Any]:
    """Write ``OUT.zarr/em``, ``aleatoric`` and ``epistemic``, (z, y, x); resumes when called again.

    All three are in grey levels of `em`, at the model's finer voxels. Their attributes hold, under
    ``translation``, what a reader needs: with total = sqrt(aleatoric^2 + epistemic^2), the nominal interval p
    of a voxel is em - intervals[p] total .. em + intervals[p] total.

    See `connectomics.pipeline.segment.segment_volume` for the parameters, and
    `connectomics.inference.passes.plan_passes` for what a sample is.

    Returns
    -------
    dict
        Output, arrays, shape, voxel size, samples.
    """
    check_task(find_model(model_name), translates=True)
    check_engine(inference)
    given = open_input(location, model_name, region, rescale)
    check_block(run_settings, given.region.shape)
    contract = given.model.contract
    samples = sampling.samples or default_samples(contract, inference.flips)
    plan_passes(samples, contract.members, contract.network.dropout > 0, inference.flips)
    _check_calibration(contract, samples)
    given.check_apart(out, ALL_PRODUCTS)
    identity = given.identity("translate", inference, cascade) | {"samples": samples}
    target = _target(contract, samples, run_settings.gpu_per_worker)
    names = [product.name for product in target.products]
    with open_run(out, "translate", identity, ALL_PRODUCTS, **run_settings.claim) as run:
        if run.complete:
            return dict(run.ledger.noted("complete")) | {"already_complete": True}
        with open_pool(run_settings) as pool:
            share = share_inference(inference, run_settings)
            chosen = run_network(run, given, share, target, pool, progress, cascade)
        em = open_array(run.path, "em")
        levels = pyramid_levels(em.shape)
        for name in names if levels > 1 else ():
            build_pyramid(run.path, name, levels)
        report = {
            "output": str(out),
            "arrays": names,
            "shape": list(em.shape),
            "voxel_size": list(em.voxel_size),
            "samples": samples,
        }
        report |= computed_tiles(chosen)
        run.finish(report, names)
    return report


def _check_calibration(contract: Contract, samples: int) -> None:
    scales = contract.uncertainty
    if scales is None:
        log.warning("model '%s': its uncertainty is not calibrated.", contract.name)
    elif scales.samples not in (None, samples):
        log.warning(
            "model '%s': its uncertainty was calibrated with %d passes; with %d the intervals may be off.",
            contract.name,
            scales.samples,
            samples,
        )


def _target(contract: Contract, samples: int, on_gpus: bool) -> Target:
    scales = contract.uncertainty
    attributes = {
        "translation": {
            "model": contract.name,
            "samples": samples,
            "calibrated": scales is not None,
            "intervals": {} if scales is None else scales.intervals,
        }
    }
    products = tuple(
        Product(name, channel, contract.output_dtype if name == "em" else SPREAD_DTYPE, attributes)
        for channel, name in enumerate(channel_names(contract, samples))
    )
    return Target(STEP, products, on_gpus, samples)
