"""`connectomics convert`: copy a volume to OME-Zarr."""

from pathlib import Path

from connectomics.cli.options import REPORT, RUN, Report, RunOptions, deliver
from connectomics.cli.session import session


def convert(
    volume: str,
    out: Path,
    *,
    levels: int | None = None,
    chunk: int = 64,
    shard: int | None = None,
    voxel_size: tuple[float, float, float] | None = None,
    run: RunOptions = RUN,
    report: Report = REPORT,
) -> None:
    """Copy a volume of any format to OME-Zarr with a pyramid; resumes when run again.

    Parameters
    ----------
    volume
        Path or URL of an OME-Zarr, HDF5, TIFF, N5 or precomputed volume.
    out
        OME-Zarr image to write.
    levels
        Pyramid levels. Default: until the longest edge is 64 voxels.
    chunk
        Edge of a chunk, voxels.
    shard
        Edge of a shard (one file), voxels; a multiple of the chunk. Default: no shards.
    voxel_size
        Voxel size (nm, z y x) for a volume that carries none.
    """
    from connectomics.pipeline.convert import ConvertSettings, convert_volume

    settings = ConvertSettings(levels=levels, chunk=chunk, shard=shard)
    with session(report) as display:
        result = convert_volume(volume, out, settings, voxel_size, run, display)
    deliver(result, report, "convert")
