"""Compare a segmentation with truth, told by content: label volume or skeletons."""

from typing import Any

from connectomics.blockwise.progress import Progress
from connectomics.errors import InputError
from connectomics.evaluation.compare import evaluate
from connectomics.io.opening import open_volume
from connectomics.io.skeletons import Skeletons, read_skeletons
from connectomics.io.volume import Volume
from connectomics.pipeline.resources import open_pool
from connectomics.pipeline.settings import PoolSettings, RegionSettings
from connectomics.roi import Roi, triple


def evaluate_segmentation(
    segmentation: str,
    truth: str,
    mask: str | None,
    region: RegionSettings,
    worst: int,
    run: PoolSettings,
    progress: Progress,
) -> dict[str, Any]:
    """Scores of a segmentation; see `connectomics.evaluation.compare.evaluate`.

    Parameters
    ----------
    segmentation, truth, mask
        Locations as on the command line.
    region
        Which part to compare; default: all that the inputs share.
    worst
        How many of the objects that lose most to list.
    run
        Who reads the blocks.
    progress
        Told of the blocks compared.
    """
    if worst < 0:
        raise InputError(f"--worst: must not be negative, got {worst}.")
    found = open_volume(segmentation, region.voxel_size)
    true = _open_truth(truth, region)
    chosen = open_volume(mask, region.voxel_size) if mask is not None else None
    roi = _roi(region, found)
    with open_pool(run) as pool:
        return evaluate(found, true, mask=chosen, roi=roi, worst=worst, progress=progress, pool=pool)


def _open_truth(location: str, region: RegionSettings) -> Volume | Skeletons:
    try:
        return open_volume(location, region.voxel_size)
    except InputError as not_a_volume:
        try:
            return read_skeletons(location)
        except InputError as not_skeletons:
            raise InputError(
                f"{location}: is no truth to compare with. As a volume: {not_a_volume} "
                f"As skeletons: {not_skeletons}"
            ) from None


def _roi(region: RegionSettings, volume: Volume) -> Roi | None:
    if region.roi_offset is None and region.roi_size is None:
        return None
    offset = triple(region.roi_offset or volume.roi.offset, "--roi-offset")
    size = region.roi_size or Roi.from_corners(offset, volume.roi.end).size
    return Roi(offset, triple(size, "--roi-size")).snap(volume.voxel_size, volume.offset)
