"""Whether a volume is worth running on: NaN, infinite or constant data are found before hours are spent."""

import itertools
import logging
from collections.abc import Iterator

import numpy as np

from connectomics.errors import InputError
from connectomics.io.volume import Box, Volume, describe_box

_log = logging.getLogger(__name__)

_EDGE = 64
_COARSE, _FINE = 3, 7


def check_image(volume: Volume, box: Box | None = None) -> None:
    """Refuse labels, and an image with NaN or infinite voxels, or with one value everywhere.

    Only blocks of 64 voxels a side are read, one at a time: 3 along each axis, evenly spread from the first
    to the last; 7 where those hold a single value. The same blocks are read every time.

    Parameters
    ----------
    volume
        The image.
    box
        Voxels of it that will be read; default: all. One value everywhere in it is warned of, and refused
        where the whole volume has no other.

    Raises
    ------
    InputError
        Which voxels hold what, and what to do.
    """
    if volume.labels or (volume.dtype.kind in "iu" and volume.dtype.itemsize > 4):
        raise InputError(
            f"{volume.name}: expected an image, got labels ({volume.dtype}). Name the image; if this is one, "
            "save it in at most 32 bits and convert it with --no-labels."
        )
    z, y, x = box or volume.slices(volume.roi)
    shape = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
    lowest, highest = np.inf, -np.inf
    for count in (_COARSE, _FINE):
        for one in sample_boxes(shape, count):
            looked = _moved(one, (z.start, y.start, x.start))
            data = volume.read_box(looked)
            if data.dtype.kind == "f" and not np.isfinite(data).all():
                wrong = int(np.count_nonzero(~np.isfinite(data)))
                raise InputError(
                    f"{volume.name}: {wrong} of the voxels {describe_box(looked)} are NaN or infinite. "
                    "Replace them (by 0, or by their neighbours) first."
                )
            lowest, highest = min(lowest, data.min()), max(highest, data.max())
        if highest > lowest:
            return
    if box is not None:  # a part without anything in it is no mistake, unless all is
        check_image(volume)
        _log.warning("%s: every voxel looked at in the region is %g: it holds no image.", volume.name, lowest)
        return
    raise InputError(
        f"{volume.name}: every voxel looked at is {lowest:g}: there is no image in it. "
        "Check the data set, or choose another region with --roi-offset and --roi-size."
    )


def _moved(box: Box, by: tuple[int, int, int]) -> Box:
    z, y, x = (slice(s.start + a, s.stop + a) for s, a in zip(box, by, strict=True))
    return z, y, x


def sample_boxes(shape: tuple[int, int, int], count: int, edge: int = _EDGE) -> Iterator[Box]:
    """Boxes of `edge` voxels, up to `count` along each axis, from the first voxel to the last."""
    starts = [sorted({int(s) for s in np.linspace(0, max(0, n - edge), count)}) for n in shape]
    for corner in itertools.product(*starts):
        z, y, x = (slice(a, min(a + edge, n)) for a, n in zip(corner, shape, strict=True))
        yield z, y, x
