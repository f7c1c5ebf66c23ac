"""`connectomics info`: say what a volume is."""

from connectomics.cli.options import REPORT, Report, deliver


def info(
    volume: str,
    *,
    voxel_size: tuple[float, float, float] | None = None,
    report: Report = REPORT,
) -> None:
    """Say what a volume is: axes, shape, type, chunks, shards, levels, voxel size, offset.

    Parameters
    ----------
    volume
        Path or URL of an OME-Zarr, HDF5, TIFF, N5 or precomputed volume.
    voxel_size
        Voxel size (nm, z y x) for a volume that carries none.
    """
    from connectomics.io.describe import describe

    deliver(describe(volume, voxel_size), report, volume)
