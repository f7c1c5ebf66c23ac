"""`connectomics segment`: label every neuron of a volume."""

from typing import Annotated

from cyclopts import Parameter

from connectomics.cli.options import REGION, REPORT, RUN, Region, Report, RunOptions, deliver
from connectomics.cli.session import session
from connectomics.inference.settings import InferenceSettings
from connectomics.segmentation.settings import SegmentationSettings

Network = Annotated[InferenceSettings, Parameter(name="*", group="Network")]
NETWORK = InferenceSettings()
Segmentation = Annotated[SegmentationSettings | None, Parameter(name="*", group="Segmentation")]


def segment(
    volume: str,
    out: str,
    *,
    model: str,
    keep_affinities: Annotated[bool, Parameter(negative="")] = False,
    rescale: Annotated[bool, Parameter(negative="")] = False,
    cascade: str | None = None,
    region: Region = REGION,
    network: Network = NETWORK,
    segmentation: Segmentation = None,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Label every neuron of a volume: labels/segmentation, labels/fragments, region_graph, uncertainty.

    Resumes when run again. Segmentation options that are not given come from the model, where they were
    chosen on its validation data.

    Parameters
    ----------
    volume
        Path or URL of an OME-Zarr, HDF5, TIFF, N5 or precomputed volume.
    out
        OME-Zarr group to write, on disk or in a bucket (s3://BUCKET/OUT.zarr).
    model
        Name of a shipped model (see `connectomics models list`) or path of a model folder.
    keep_affinities
        Keep the affinities the segmentation was made from, in OUT.zarr/affinities.
    rescale
        Resample the input to the model's voxel size.
    cascade
        Cascade file, or name of a shipped cascade: compute only what its detectors let through (see
        `connectomics cascade --help`). Where it would not pay, everything is computed.
    """
    from connectomics.pipeline.cascade import cascade_for
    from connectomics.pipeline.segment import segment_volume

    given = {} if segmentation is None else segmentation.model_dump(exclude_unset=True)
    with session(report) as display:
        chosen = cascade_for(volume, cascade, model, region, rescale, network, display)
        result = segment_volume(
            volume,
            out,
            model,
            region=region,
            inference=network,
            segmentation=given,
            keep_affinities=keep_affinities,
            rescale=rescale,
            run_settings=run,
            progress=display,
            cascade=chosen,
        )
    deliver(result, report, "segment")
