"""Segment a volume: network, fragments, edges, one global step, labels. The whole story on one page."""

from collections.abc import Mapping
from typing import Any

from connectomics.affinities import NEAREST
from connectomics.blockwise.grid import Grid
from connectomics.blockwise.output import Run, open_run
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.release import release_memory
from connectomics.cascade.settings import Cascade
from connectomics.errors import ModelError
from connectomics.inference.predictor import affine_for
from connectomics.inference.settings import InferenceSettings
from connectomics.io.ome_zarr import open_array
from connectomics.io.place import Place
from connectomics.networks.models import Model, check_task, find_model
from connectomics.pipeline.chunk_scoring import verdicts_of
from connectomics.pipeline.edge_stage import collect_edges
from connectomics.pipeline.fragment_stage import make_fragments
from connectomics.pipeline.graph_memory import BYTES_PER_EDGE
from connectomics.pipeline.graph_stage import solve
from connectomics.pipeline.input import open_input
from connectomics.pipeline.label_stage import PRODUCTS, build_pyramids, write_labels
from connectomics.pipeline.network_stage import Target, run_network
from connectomics.pipeline.region import Region
from connectomics.pipeline.resources import block_for_memory, open_pool, share_inference
from connectomics.pipeline.selection import computed_tiles
from connectomics.pipeline.settings import RegionSettings, RunSettings
from connectomics.pipeline.stage import Image, Stage
from connectomics.pipeline.uncertainty_stage import make_way
from connectomics.roi import IntTriple
from connectomics.segmentation.calibration import Calibration
from connectomics.segmentation.fragments import required_halo
from connectomics.segmentation.settings import SegmentationSettings

KEPT = (*PRODUCTS, "region_graph", "lut")
ALL_PRODUCTS = (*KEPT, "affinities", "scratch", verdicts_of("segment"))

BYTES_PER_VOXEL = 40.0
"""Peak bytes per voxel read by one worker in the fragment and edge stages, measured."""


def segment_volume(
    location: str,
    out: str | Place,
    model_name: str,
    *,
    region: RegionSettings,
    inference: InferenceSettings,
    segmentation: Mapping[str, Any],
    keep_affinities: bool,
    rescale: bool,
    run_settings: RunSettings,
    progress: Progress,
    cascade: Cascade | None = None,
) -> dict[str, Any]:
    """Label every neuron of a volume; resumes when called again.

    Parameters
    ----------
    location
        The input volume, as on the command line.
    out
        OME-Zarr group to write.
    model_name
        Shipped model or model folder.
    region
        Which part of the input.
    inference
        How to run the network.
    segmentation
        Segmentation settings the user gave; the others come from the model.
    keep_affinities
        Keep ``OUT.zarr/affinities``.
    rescale
        Resample the input to the model's voxel size.
    run_settings
        Memory, threads, blocks.
    progress
        Who watches.
    cascade
        Compute only what its detectors let through; the rest stays empty.

    Returns
    -------
    dict
        Output, counts of fragments, edges and segments, settings used.
    """
    check_task(find_model(model_name), translates=False)  # before its voxel size, which is no advice then
    given = open_input(location, model_name, region, rescale)
    settings = segmentation_settings(given.model, segmentation)
    calibration = calibration_of(given.model, settings)
    grid = segmentation_grid(given.region.shape, settings, inference.memory, run_settings)
    identity = given.identity("segment", inference, cascade) | {
        "segmentation": _told(settings),
        "block": run_settings.block,
        "keep_affinities": keep_affinities,
    }
    given.check_apart(out, ALL_PRODUCTS)
    make_way(out)
    with open_run(out, "segment", identity, ALL_PRODUCTS, **run_settings.claim) as run:
        if run.complete:
            _clean_up(run, keep_affinities)  # which may have been interrupted
            return dict(run.ledger.noted("complete")) | {"already_complete": True}
        grid = Grid(grid.shape, run.settled_block(grid.block))
        offsets = used_offsets(given.model, settings)
        channels = len(given.model.contract.offsets) if keep_affinities else len(offsets)
        with open_pool(run_settings) as pool:
            share = share_inference(inference, run_settings)
            contract = given.model.contract
            target = Target.affinities("affinities", contract, channels, run_settings.gpu_per_worker)
            chosen = run_network(run, given, share, target, pool, progress, cascade)
            release_memory()
            found, image = open_array(run.path, "affinities"), looked_at(given.region, given.model, settings)
            stage = Stage(run, grid, found, offsets, settings, pool, progress, calibration, chosen, image)
            report = segment_affinities(stage) | computed_tiles(chosen)
        run.finish(report, (*KEPT, "affinities") if keep_affinities else KEPT)
        _clean_up(run, keep_affinities)
    return report


def _clean_up(run: Run, keep_affinities: bool) -> None:
    """Delete what only the run itself needed."""
    for name in ("scratch",) if keep_affinities else ("scratch", "affinities"):
        run.remove(name)
    for step in ("fragments", "edges", "naming"):
        run.ledger.drop_tables(step)


def segment_affinities(stage: Stage) -> dict[str, Any]:
    """Everything after the network, from affinities on disk to labels on disk."""
    make_fragments(stage)
    collect_edges(stage)
    release_memory()
    write_labels(stage, solve(stage))
    build_pyramids(stage)
    settings, calibrated = stage.settings, stage.calibration.said
    summary: dict[str, Any] = {"output": str(stage.run.path), "shape": stage.grid.shape}
    summary["bytes_per_million_edges"] = BYTES_PER_EDGE[settings.linkage] * 1_000_000
    summary |= stage.run.ledger.noted("graph") | {"calibrated": calibrated}
    return summary | {"settings": settings.model_dump(mode="json")}


def segmentation_settings(model: Model, given: Mapping[str, Any]) -> SegmentationSettings:
    """The model's own settings, overridden by what the user gave."""
    check_task(model, translates=False)
    if not model.contract.offsets:
        raise ModelError(
            f"model '{model.contract.name}' predicts no affinities; it cannot segment. A detector is named "
            "in a cascade's level, and the cascade goes to --cascade."
        )
    return SegmentationSettings.parse({**model.contract.segmentation, **given}, "segmentation settings")


def calibration_of(model: Model, settings: SegmentationSettings) -> Calibration:
    """The model's calibration; that of edges fits the segmentation settings of its contract alone."""
    own = segmentation_settings(model, {})
    outlined_alike = settings.model_copy(update={"outline": own.outline})  # edges do not depend on it
    return Calibration.parse(model.contract.calibration, fits=outlined_alike == own)


def _told(settings: SegmentationSettings) -> dict[str, Any]:
    """The settings in a run's identity; no penalty and no outline are what runs had before there was one."""
    values = settings.model_dump(mode="json")
    return {key: value for key, value in values.items() if key not in ("grey_penalty", "outline") or value}


def looked_at(region: Region, model: Model, settings: SegmentationSettings) -> Image | None:
    """The image of a region, scaled as the network has it, where the segmentation looks at it."""
    if not settings.grey_penalty:
        return None
    return Image(region, affine_for(model.contract, region.volume.read_box, region.volume.shape))


def segmentation_grid(
    shape: IntTriple, settings: SegmentationSettings, memory: int, run_settings: RunSettings
) -> Grid:
    """The write blocks of the segmentation stages."""
    return Grid(
        shape, block_for_memory(run_settings, memory, shape, required_halo(settings), BYTES_PER_VOXEL)
    )


def used_offsets(model: Model, settings: SegmentationSettings) -> tuple[IntTriple, ...]:
    """The affinity offsets that the settings make use of, nearest neighbours first."""
    offsets = model.contract.offsets
    needs_all = settings.long_range or settings.fragments == "mutex"
    return offsets if needs_all else offsets[: len(NEAREST)]
