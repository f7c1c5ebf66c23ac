"""`connectomics convert`: copy a volume to OME-Zarr."""

from typing import Annotated

from cyclopts import Parameter

from connectomics.cli.options import MEMORY, REPORT, RUN, Memory, Report, RunOptions, deliver
from connectomics.cli.session import session
from connectomics.io.settings import ConvertSettings

Storage = Annotated[ConvertSettings, Parameter(name="*", group="Storage")]
STORAGE = ConvertSettings()


def convert(
    volume: str,
    out: str,
    *,
    voxel_size: tuple[float, float, float] | None = None,
    storage: Storage = STORAGE,
    memory: Memory = MEMORY,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Copy a volume of any format to OME-Zarr with a pyramid; resumes when run again.

    A label image, and any volume of 32 or 64-bit integers, is copied as labels: coarser levels hold
    the commonest id, not a mean. --labels and --no-labels say which it is.

    Parameters
    ----------
    volume
        Path or URL of an OME-Zarr, HDF5, TIFF, N5 or precomputed volume.
    out
        OME-Zarr image to write, on disk or in a bucket (s3://BUCKET/OUT.zarr).
    voxel_size
        Voxel size (nm, z y x) for a volume that carries none.
    """
    from connectomics.pipeline.convert import convert_volume

    with session(report) as display:
        result = convert_volume(volume, out, storage, voxel_size, run, display, memory=memory.memory)
    deliver(result, report, "convert")
