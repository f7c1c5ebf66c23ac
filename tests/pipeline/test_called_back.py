"""Which tiles a cascade calls back: those into which something long leads, not those beside specks."""

import numpy as np
import pytest

from connectomics.blockwise.grid import Grid
from connectomics.pipeline.cascade_stage import _leads_out
from connectomics.pipeline.selection import Selection

EDGE = 16
GRID = Grid((EDGE, 3 * EDGE, 3 * EDGE), (EDGE,) * 3)


class Drawn:
    """Affinities that are 1 inside what is drawn."""

    def __init__(self, *boxes):
        self.array = np.zeros((9, *GRID.shape), np.uint8)
        for box in boxes:
            self.array[(slice(None), *box)] = 255

    def read_box(self, box):
        return self.array[(slice(None), *box)]


def leads(drawn, *computed, block=4, axis=2, side=1):
    done = Selection(GRID, np.array(computed))
    return _leads_out(drawn, done, GRID[block].box, axis, side)


MIDDLE = slice(6, 10)
ROD = (MIDDLE, slice(22, 26), slice(18, 32))


def test_a_rod_leads_out_and_a_speck_on_the_face_does_not():
    assert leads(Drawn(ROD), 4)
    assert not leads(Drawn((MIDDLE, slice(22, 26), slice(28, 32))), 4)


def test_a_thin_thread_is_no_object():
    assert not leads(Drawn((slice(8, 10), slice(22, 24), slice(16, 32))), 4)


@pytest.mark.parametrize(("axis", "side"), [(1, -1), (1, 1), (2, -1), (2, 1)])
def test_every_face_is_looked_at(axis, side):
    box = [MIDDLE, slice(22, 26), slice(22, 26)]
    box[axis] = slice(16, 28) if side < 0 else slice(20, 32)
    assert leads(Drawn(tuple(box)), 4, axis=axis, side=side)
    assert not leads(Drawn(tuple(box)), 4, axis=axis, side=-side)


def test_a_corner_counts_with_what_lies_in_the_tiles_beside_it():
    """A rod that cuts the corner of a tile goes on out of it, though little of it is in there."""
    bent = Drawn((MIDDLE, slice(8, 20), slice(26, 30)), (MIDDLE, slice(16, 20), slice(26, 32)))
    assert leads(bent, 1, 4)
    assert not leads(bent, 4)  # what is not computed (yet) does not count: a rerun chooses the same


def test_beside_the_volumes_end():
    assert leads(Drawn((MIDDLE, slice(36, 40), slice(2, 16))), 6, block=6)
