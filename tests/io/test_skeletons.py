"""Skeletons: what they must be, cropping, and formats told by content."""

import json

import numpy as np
import pytest

from connectomics.errors import FormatError, InputError
from connectomics.io.skeletons import Skeletons, read_skeletons, write_swc
from connectomics.roi import Roi

#    0 - 1 - 2 - 3      id 5, along x, 100 nm apart
#            |
#            4          5   id 9, alone
DRAWN = Skeletons(
    nodes=[[0, 0, 0], [0, 0, 100], [0, 0, 200], [0, 0, 300], [0, 50, 200], [7, 7, 7]],
    edges=[[0, 1], [1, 2], [2, 3], [2, 4]],
    ids=[5, 5, 5, 5, 5, 9],
    radii=[10, np.nan, 30, 40, 50, np.nan],
)


def test_crop_drops_nodes_outside_and_their_edges_and_keeps_the_order():
    part = DRAWN.crop(Roi((0, 0, 100), (10, 60, 200)))  # x 100..300, the high face outside
    assert part.nodes.tolist() == [[0, 0, 100], [0, 0, 200], [0, 50, 200]]
    assert part.edges.tolist() == [[0, 1], [1, 2]]
    assert part.ids.tolist() == [5, 5, 5] and np.isnan(part.radii[0])
    assert len(DRAWN.crop(Roi((900, 0, 0), (1, 1, 1)))) == 0


def test_lengths():
    assert DRAWN.lengths.tolist() == [100, 100, 100, 50]


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": [1]},
        {"radii": [1]},
        {"edges": [[0, 6]]},
        {"edges": [[-1, 0]]},
        {"nodes": np.full((6, 3), np.nan)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes):
    fields = {name: getattr(DRAWN, name) for name in ("nodes", "edges", "ids", "radii")}
    with pytest.raises(InputError, match="skeletons"):
        Skeletons(**{**fields, **changes})


def test_names_do_not_matter(tmp_path):
    write_swc(tmp_path / "swc", DRAWN)
    (tmp_path / "swc/5.swc").rename(tmp_path / "axon.npz")
    assert len(read_skeletons(tmp_path / "axon.npz")) == 5


def test_what_is_no_skeleton(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_skeletons(tmp_path / "none.swc")
    (tmp_path / "a.swc").write_text("no numbers here\n")
    with pytest.raises(FormatError, match="not a skeleton"):
        read_skeletons(tmp_path / "a.swc")
    (tmp_path / "a.swc").write_bytes(bytes(range(128, 256)))
    with pytest.raises(FormatError, match=r"damaged|not a skeleton"):
        read_skeletons(tmp_path / "a.swc")


def test_every_example_of_the_challenge_is_read(shared):
    cases = sorted((shared / "xpress_oracle").glob("*/skels.npz"))
    for path in cases:
        found = read_skeletons(path)
        assert len(found) > 0 and json.loads((path.parent / "official.json").read_text())
    assert len(cases) == 34
