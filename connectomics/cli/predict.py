"""`connectomics predict`: run a network over a volume."""

from typing import Annotated

from cyclopts import Parameter

from connectomics.cli.options import REGION, REPORT, RUN, Region, Report, RunOptions, deliver
from connectomics.cli.segment import NETWORK, Network
from connectomics.cli.session import session


def predict(
    volume: str,
    out: str,
    *,
    model: str,
    rescale: Annotated[bool, Parameter(negative="")] = False,
    cascade: str | None = None,
    region: Region = REGION,
    network: Network = NETWORK,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Run a network over a volume: OUT.zarr/prediction and uncertainty; resumes when run again.

    Parameters
    ----------
    volume
        Path or URL of an OME-Zarr, HDF5, TIFF, N5 or precomputed volume.
    out
        OME-Zarr group to write, on disk or in a bucket (s3://BUCKET/OUT.zarr).
    model
        Name of a shipped model (see `connectomics models list`) or path of a model folder.
    rescale
        Resample the input to the model's voxel size.
    cascade
        Cascade file, or name of a shipped cascade: compute only what its detectors let through (see
        `connectomics cascade --help`). Where it would not pay, everything is computed.
    """
    from connectomics.pipeline.cascade import cascade_for
    from connectomics.pipeline.predict import predict_volume

    with session(report) as display:
        chosen = cascade_for(volume, cascade, model, region, rescale, network, display)
        result = predict_volume(
            volume,
            out,
            model,
            region=region,
            inference=network,
            rescale=rescale,
            run_settings=run,
            progress=display,
            cascade=chosen,
        )
    deliver(result, report, "predict")
