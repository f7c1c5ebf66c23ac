"""What is in view becomes a box of whole voxels."""

import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.io.volume import Volume
from napari_connectomics.regions import region_in_view

VOLUME = Volume(np.zeros((10, 20, 30), np.uint8), (20.0, 10.0, 10.0), (1000.0, 0.0, -500.0), "volume")


def test_a_window_on_a_section_has_depth():
    seen = region_in_view(VOLUME, (0, 33, -480), (0, 71, -401), [1, 2], (1100, 50, -450), 3)
    assert seen.offset == (1060.0, 30.0, -480.0) and seen.end == (1140.0, 80.0, -400.0)


def test_it_ends_where_the_volume_ends():
    seen = region_in_view(VOLUME, (0, -900, -900), (0, 900, 900), [1, 2], (1190, 50, -450), 5)
    assert seen.end == VOLUME.roi.end and seen.offset == (1140.0, 0.0, -500.0)


def test_nothing_in_view_is_refused():
    with pytest.raises(InputError, match="in view"):
        region_in_view(VOLUME, (0, 500, 0), (0, 600, 10), [1, 2], (1100, 50, -450), 60)


@pytest.mark.parametrize(("axis", "size"), [(0, 20.0), (1, 10.0)])
def test_sections_are_those_of_the_axis_that_is_not_shown(axis, size):
    plane = (1110, 55, -455)  # centres of voxels
    shown = [one for one in range(3) if one != axis]
    seen = region_in_view(VOLUME, (1000, 0, -500), (1200, 200, -200), shown, plane, 3)
    assert seen.size[axis] == 3 * size
