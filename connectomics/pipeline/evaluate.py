"""Compare with truth, told by content: labels with labels or skeletons, a translation with real EM."""

from typing import Any

from connectomics.blockwise.progress import Progress
from connectomics.errors import InputError
from connectomics.evaluation.compare import evaluate
from connectomics.evaluation.compare_images import evaluate_image
from connectomics.evaluation.settings import CompareSettings
from connectomics.evaluation.translation_verdict import verdict
from connectomics.io.opening import open_volume
from connectomics.io.skeletons import Skeletons, read_skeletons
from connectomics.io.volume import Volume
from connectomics.pipeline.resources import open_pool
from connectomics.pipeline.settings import PoolSettings, RegionSettings
from connectomics.roi import Roi, triple

SPREADS = ("aleatoric", "epistemic")
"""What `translate` writes beside ``em``."""


def evaluate_segmentation(
    segmentation: str,
    truth: str,
    compare: CompareSettings,
    region: RegionSettings,
    run: PoolSettings,
    progress: Progress,
) -> dict[str, Any]:
    """Scores of a segmentation (see `connectomics.evaluation.compare.evaluate`) or of a translation.

    What `translate` wrote is known by its attributes, and compared by
    `connectomics.evaluation.compare_images.evaluate_image`; so is any image where `compare.image` is set.

    Parameters
    ----------
    segmentation, truth
        Locations as on the command line; a group that `translate` wrote stands for its ``em``.
    compare
        Mask, and what to list.
    region
        Which part to compare; default: all that the inputs share.
    run
        Who reads the blocks.
    progress
        Told of the blocks compared.
    """
    if compare.worst < 0:
        raise InputError(f"--worst: must not be negative, got {compare.worst}.")
    place, found = _open_result(segmentation, region)
    image = compare.image or "translation" in found.attributes
    true = open_volume(truth, region.voxel_size) if image else _open_truth(truth, region)
    if not compare.image:
        _check_order(place, found, true)
    beside = _open_beside(compare, region, None if image else true, found)
    mask = open_volume(compare.mask, region.voxel_size) if compare.mask is not None else None
    roi = _roi(region, found)
    with open_pool(run) as pool:
        if image and isinstance(true, Volume):
            spreads = _spreads(place, region)
            return evaluate_image(found, true, spreads, mask=mask, roi=roi, progress=progress, pool=pool)

        def score(labels: Volume, worst: int = 0) -> dict[str, Any]:
            return evaluate(labels, true, mask=mask, roi=roi, worst=worst, progress=progress, pool=pool)

        result = score(found, compare.worst)
        return result | (_judged(result, *map(score, beside)) if beside else {})


def _open_beside(
    compare: CompareSettings, region: RegionSettings, true: Volume | Skeletons | None, found: Volume
) -> list[Volume]:
    """The segmentations of the X-ray and of the real EM, if a verdict is wanted; `true`: None of images."""
    given = {"--direct": compare.direct, "--real": compare.real}
    missing = [name for name, place in given.items() if place is None]
    if len(missing) == 2:
        return []
    if missing:
        raise InputError(f"{missing[0]}: missing; whether a translation helped needs --direct and --real.")
    if not isinstance(true, Volume):
        what = "SEGMENTATION is an image" if true is None else "TRUTH is skeletons"
        raise InputError(f"--direct, --real: a verdict compares labels with labels, and {what}.")
    opened = [open_volume(place, region.voxel_size) for place in given.values() if place is not None]
    for name, one in zip(given, opened, strict=True):
        if region.roi_size is None and one.roi != found.roi:
            raise InputError(
                f"{name}: lies from {one.roi.offset} to {one.roi.end} nm (z y x), SEGMENTATION from "
                f"{found.roi.offset} to {found.roi.end}. Give --roi-offset and --roi-size, one for all."
            )
    return opened


def _judged(translated: dict[str, Any], direct: dict[str, Any], real: dict[str, Any]) -> dict[str, Any]:
    """Scores of the segmentations beside a translation's, and what the three say of it."""
    said = verdict(*([found["voi_sum"]] for found in (direct, translated, real)))
    beside = {
        f"{name}_{key}": found[key]
        for name, found in (("direct", direct), ("real", real))
        for key in ("voi_split", "voi_merge", "voi_sum")
    }
    return beside | {"gap_recovered": said.recovered if said.has_gap else None, "verdict": str(said)}


def _open_result(location: str, region: RegionSettings) -> tuple[str, Volume]:
    """The volume and where it is; of a group that `translate` wrote, its image."""
    try:
        return location, open_volume(location, region.voxel_size)
    except InputError:
        place = f"{location.rstrip('/')}/em"
        try:
            found = open_volume(place, region.voxel_size)
        except InputError:
            found = None
        if found is None or "translation" not in found.attributes:
            raise
        return place, found


def _check_order(place: str, found: Volume, true: Volume | Skeletons) -> None:
    """Refuse a map of uncertainty as the translation, and a translation as the truth."""
    if "translation" in found.attributes and place.rstrip("/").rpartition("/")[2] in SPREADS:
        raise InputError(f"{place}: is a map of uncertainty; name the translation, the em beside it.")
    if isinstance(true, Volume) and "translation" in true.attributes:
        raise InputError(
            f"{true.name}: TRUTH is a translation. Name the translation first, then the real EM."
        )


def _spreads(place: str, region: RegionSettings) -> list[Volume]:
    """The maps of uncertainty beside an image that `translate` wrote."""
    folder, _, name = place.rstrip("/").rpartition("/")
    found = []
    for beside in SPREADS if name == "em" else ():
        try:
            found.append(open_volume(f"{folder}/{beside}", region.voxel_size))
        except InputError:
            continue
    return found


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
