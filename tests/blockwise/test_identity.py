"""Two runs are the same run exactly when nothing that matters differs."""

import pytest

from connectomics.blockwise.identity import check_same, differences, fingerprint
from connectomics.errors import OutputExistsError

RUN = {"model": {"name": "toy", "sha256": "ab"}, "block": (64, 64, 64), "threshold": 0.5}


def test_order_and_kind_of_sequence_do_not_matter():
    other = {"threshold": 0.5, "block": [64, 64, 64], "model": {"sha256": "ab", "name": "toy"}}
    assert fingerprint(RUN) == fingerprint(other)
    assert differences(RUN, other) == []
    check_same("out.zarr", RUN, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0.4}, "threshold: 0.5 -> 0.4"),
        ({"model": {"name": "toy", "sha256": "cd"}}, 'model.sha256: "ab" -> "cd"'),
        ({"block": (32, 64, 64)}, "block: [64, 64, 64] -> [32, 64, 64]"),
        ({"new": 1}, "new: null -> 1"),
        ({"model": "toy"}, 'model: {"name": "toy", "sha256": "ab"} -> "toy"'),
    ],
)
def test_what_differs_is_named(change, message):
    other = RUN | change
    assert fingerprint(other) != fingerprint(RUN)
    assert differences(RUN, other) == [message]
    with pytest.raises(OutputExistsError) as caught:
        check_same("out.zarr", RUN, other)
    assert str(caught.value).startswith("out.zarr: ") and message in str(caught.value)
    assert "--overwrite" in str(caught.value)


def test_every_difference_is_named_and_long_values_are_cut():
    other = RUN | {"threshold": 1.0, "block": list(range(100))}
    first, second = differences(RUN, other)
    assert first.startswith("block: ") and first.endswith("...") and len(first) < 140
    assert second == "threshold: 0.5 -> 1.0"
