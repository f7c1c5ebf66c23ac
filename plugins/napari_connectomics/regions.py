"""The part of a volume that is in view, as a box in the world."""

from collections.abc import Sequence

from connectomics.errors import InputError
from connectomics.io.volume import Volume
from connectomics.roi import Roi, triple


def region_in_view(
    volume: Volume,
    low: Sequence[float],
    high: Sequence[float],
    displayed: Sequence[int],
    plane: Sequence[float],
    sections: float,
) -> Roi:
    """The box of a volume's voxels that a viewer shows.

    Parameters
    ----------
    volume
        What a run would read.
    low, high
        World corners (nm, zyx) of what the canvas shows; only the displayed axes count.
    displayed
        Axes that are on the canvas; all three in three dimensions.
    plane
        World position (nm, zyx) of the section in view.
    sections
        Voxels along the axes that are not displayed, half of them on either side of the section.

    Raises
    ------
    InputError
        Nothing of the volume is in view.
    """
    start, stop = [], []
    for axis in range(3):
        if axis in displayed:
            start.append(min(low[axis], high[axis]))
            stop.append(max(low[axis], high[axis]))
        else:
            half = sections * volume.voxel_size[axis] / 2
            start.append(plane[axis] - half)
            stop.append(plane[axis] + half)
    seen = Roi.from_corners(triple(start), triple(stop)).intersect(volume.roi)
    if seen.empty:
        raise InputError(f"{volume.name}: nothing of it is in view. Move to it, or take the whole volume.")
    return seen.snap(volume.voxel_size, volume.offset).intersect(volume.roi)
